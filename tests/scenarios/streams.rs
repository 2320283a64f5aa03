//! Ports of the node that ConfigMaps lead to Services: in the kernel, and where the PROXY protocol is spoken by the front.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use weir_lab::{Netns, ask_udp};

use crate::common::{greeted_by, problems, scenario};

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: greeter, port: 80, targetPort: 7070}
  - {name: datagrams, port: 5353, targetPort: 5353, protocol: UDP}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tcp-services}
data:
  "9000": default/web:greeter
  "9001": default/web:80:PROXY
---
apiVersion: v1
kind: ConfigMap
metadata: {name: udp-services}
data:
  "53": default/web:5353
"#;

#[test]
#[ignore = "needs root"]
fn ports_from_config_maps_are_served_in_the_kernel() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "web-a", "web")?;
        cluster.add_pod(1, "web-b", "web")?;
        cluster.write_pods()?;
        cluster.write("streams.yaml", MANIFESTS)?;
        for node in &mut cluster.nodes {
            let named = ["--tcp-services-configmap", "default/tcp-services"];
            let flags = named.into_iter().chain(["--udp-services-configmap", "default/udp-services"]);
            node.agent_options().arguments.extend(flags.map(str::to_owned));
        }
        cluster.start_agents()?;
        for node in &cluster.nodes {
            let pods = greeted_by(cluster, node.port(9000), 24)?;
            ensure!(pods.len() == 2, "not both pods answer at port 9000: {pods:?}");
            let answer = ask_udp(&cluster.client, node.port(53), None, "hello")?;
            ensure!(answer.contains("web-"), "{answer}");
            let greeting = greeted_behind(&cluster.client, node.port(9001), HEADER)?;
            ensure!(greeting.contains("web-"), "no greeting behind a PROXY header: {greeting:?}");
            let refused = greeted_behind(&cluster.client, node.port(9001), "hello, and no header\r\n")?;
            ensure!(refused.is_empty(), "a connection without a PROXY header is served: {refused:?}");
        }
        let told = problems(&cluster.nodes[0])?;
        ensure!(told.iter().all(|problem| problem["value"] != "default/web:80:PROXY"), "{told:?}");
        Ok(())
    })
}

const HEADER: &str = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n";

/// What comes back on a connection that begins so, until it ends or has had a line.
fn greeted_behind(from: &Netns, to: SocketAddr, header: &str) -> Result<String> {
    from.run(|| {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(header.as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        // A connection that is not taken is closed with bytes unread, which may show as a reset.
        while !answer.ends_with(b"\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
            answer.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
}
