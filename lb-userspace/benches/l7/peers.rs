//! nginx and HAProxy as proxies, and nginx as the backend. Both proxies are told what weir's front does by default: no body
//! in a file, forwarded headers, an access log, connections to the backend kept.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;

use super::Proxy;
use super::process::{PROXY, Process, REST};
use super::site::{HOST, Site, free_port, hosts};

/// A proxy that is a program of Debian.
pub(crate) struct Peer {
    name: &'static str,
    port: u16,
    tls_port: u16,
    process: Process,
    log: PathBuf,
}

impl Proxy for Peer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn tls_port(&self) -> u16 {
        self.tls_port
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn forget_log(&self) -> Result<()> {
        Ok(File::options().write(true).open(&self.log)?.set_len(0)?)
    }
}

/// Serves files of 1 KB, 100 KB and 10 MB.
pub(crate) fn backend(site: &Site) -> Result<Process> {
    let (root, port) = (site.root().display(), site.backend);
    let http = format!(
        "access_log off; sendfile on; tcp_nopush on; open_file_cache max=10; keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:{port}; root {root}/content; }}"
    );
    run_nginx(site, "backend", REST, port, &http)
}

pub(crate) fn nginx(site: &Site) -> Result<Peer> {
    let (root, backend) = (site.root().display(), site.backend);
    let (port, tls_port) = (free_port()?, free_port()?);
    let forward = "proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; \
proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port; \
proxy_set_header X-Request-ID $request_id;";
    let servers: String = hosts()
        .map(|host| {
            let tls = if host == HOST { format!(" listen 127.0.0.1:{tls_port} ssl http2;") } else { String::new() };
            format!("  server {{ listen 127.0.0.1:{port};{tls} server_name {host}; location / {{ {forward} }} }}\n")
        })
        .collect();
    let http = format!(
        "access_log {root}/nginx.log; keepalive_requests 1000000000; keepalive_timeout 600; proxy_max_temp_file_size 0;
  server_names_hash_max_size 65536; server_names_hash_bucket_size 64;
  ssl_certificate {root}/certificate.pem; ssl_certificate_key {root}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}\n{servers}"
    );
    let process = run_nginx(site, "nginx", PROXY, port, &http)?;
    Ok(Peer { name: "nginx", port, tls_port, process, log: site.path("nginx.log") })
}

pub(crate) fn haproxy(site: &Site) -> Result<Peer> {
    let (root, backend) = (site.root().display(), site.backend);
    let (port, tls_port) = (free_port()?, free_port()?);
    site.file("hosts.map", &hosts().map(|host| format!("{host} web\n")).collect::<String>())?;
    let config = format!(
        "global
  nbthread 1
  maxconn 5000
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  http-reuse always
  timeout client 600s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 600s
frontend in
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{tls_port} ssl crt {root}/both.pem alpn h2,http/1.1
  http-request set-header X-Request-ID %[uuid()]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  use_backend %[req.hdr(host),field(1,:),lower,map({root}/hosts.map,none)]
backend web
  server one 127.0.0.1:{backend} maxconn 1000
backend none
  http-request deny deny_status 404
"
    );
    let config = site.file("haproxy.cfg", &config)?.display().to_string();
    let log = site.path("haproxy.log");
    let process = Process::start(PROXY, &["haproxy", "-db", "-f", &config], &log, port)?;
    Ok(Peer { name: "HAProxy", port, tls_port, process, log })
}

fn run_nginx(site: &Site, name: &str, core: &str, port: u16, http: &str) -> Result<Process> {
    let root = site.root().display().to_string();
    let config = format!(
        "daemon off; master_process off; pid {root}/{name}.pid; error_log {root}/{name}.err;
events {{ worker_connections 10000; }}
http {{
  {http}
}}
"
    );
    let config = site.file(&format!("{name}.conf"), &config)?.display().to_string();
    Process::start(core, &["nginx", "-p", &root, "-c", &config], &site.path(&format!("{name}.out")), port)
}
