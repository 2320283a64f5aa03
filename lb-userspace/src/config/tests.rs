use super::*;
use crate::cli::{self, Command};
use crate::model::Severity;

fn config(line: &str) -> Result<Config, ConfigError> {
    match cli::parse(["weir", "agent"].into_iter().chain(line.split_whitespace())).expect("clap takes it").command {
        Command::Agent(args) => Config::try_from(&*args),
        other => panic!("{other:?}"),
    }
}

fn right(line: &str) -> Config {
    config(&format!("--source dir:/m {line}")).expect("no mistake")
}

/// The line that a mistake prints.
fn wrong(line: &str) -> String {
    config(&format!("--source dir:/m {line}")).expect_err("a mistake").to_string()
}

fn dir(path: &str) -> SourceChoice {
    SourceChoice::Dir(path.into())
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = right("");
    assert_eq!(config.sources, [dir("/m")]);
    assert!(config.interfaces.is_empty() && config.node_ips.is_empty() && config.nodeport_addresses.is_empty());
    assert_eq!((config.snat_ports, config.snat_address4, config.snat_address6), ((15_000, 29_999), None, None));
    assert_eq!((config.fwmark, config.table, config.xdp), (0x2000, 0x7765, XdpPolicy::Auto));
    assert_eq!(config.pin_path, PathBuf::from("/sys/fs/bpf/weir"));
    assert_eq!(config.admin, "127.0.0.1:10254".parse().unwrap());
    assert_eq!((config.log_format, config.log_level, config.dry_run), (LogFormat::Text, LogLevel::Info, false));
    let manifests = &config.manifests;
    assert_eq!((manifests.http_port, manifests.https_port), (80, 443));
    assert_eq!(manifests.front_labels, [("app.kubernetes.io/name".to_owned(), "weir".to_owned())]);
    assert_eq!(config.sizes, MapSizes::default());
    assert!(config.not_yet.is_empty());
}

/// Every flag of the contract is taken, and where it lands is looked at.
#[test]
fn every_flag_is_read() {
    type Check = fn(&Config) -> bool;
    let table: &[(&str, Check)] = &[
        ("--source dir:b", |c| c.sources == [dir("/m"), dir("b")]),
        ("--interface eth0 --interface eth1", |c| c.interfaces == ["eth0", "eth1"]),
        ("--xdp native", |c| c.xdp == XdpPolicy::Native),
        ("--xdp off", |c| c.xdp == XdpPolicy::Off),
        ("--node-name n-1", |c| c.manifests.node_name.as_deref() == Some("n-1")),
        ("--node-ip 10.0.0.1 --node-ip 2001:db8::1", |c| c.node_ips.len() == 2),
        ("--pod-cidr 10.1.2.3/16", |c| c.manifests.pod_cidrs == ["10.1.0.0/16".parse().unwrap()]),
        ("--nodeport-addresses 10.0.0.0/8 --nodeport-addresses ::/0", |c| c.nodeport_addresses.len() == 2),
        ("--snat-ports 20000-20010", |c| c.snat_ports == (20_000, 20_010)),
        ("--snat-address 10.0.0.9", |c| c.snat_address4 == Some(Ipv4Addr::new(10, 0, 0, 9)) && c.not_yet.is_empty()),
        ("--snat-address 10.0.0.9 --snat-address 2001:db8::9", |c| {
            c.snat_address4.is_some() && c.snat_address6 == "2001:db8::9".parse().ok() && c.not_yet.is_empty()
        }),
        ("--syn-limit 5", |c| c.syn_limit == Some(5)),
        ("--fast-local", |c| c.not_yet.len() == 1),
        ("--fwmark 4096 --table 0x64", |c| (c.fwmark, c.table) == (4096, 100)),
        ("--front-label a=b --front-label c=", |c| c.manifests.front_labels.len() == 2),
        ("--http-port 8080 --https-port 0", |c| (c.manifests.http_port, c.manifests.https_port) == (8080, 0)),
        ("--default-backend-service a/b", |c| c.manifests.default_backend_service == Some(("a".into(), "b".into()))),
        ("--configmap a/b", |c| c.manifests.configmap == Some(("a".into(), "b".into()))),
        ("--tcp-services-configmap a/b", |c| c.manifests.tcp_services_configmap == Some(("a".into(), "b".into()))),
        ("--udp-services-configmap a/b", |c| c.manifests.udp_services_configmap == Some(("a".into(), "b".into()))),
        ("--forwarding dsr", |c| c.manifests.forwarding == crate::model::Forwarding::Dsr),
        ("--ingress-class nginx", |c| c.manifests.ingress_class.as_deref() == Some("nginx")),
        ("--watch-ingress-without-class", |c| c.manifests.watch_ingress_without_class),
        ("--when-replaced stand-by", |c| c.stands_by && !c.retired),
        ("--pin-path /sys/fs/bpf/other", |c| c.pin_path == std::path::Path::new("/sys/fs/bpf/other")),
        ("--cgroup /sys/fs/cgroup", |c| c.cgroup == CgroupChoice::Directory("/sys/fs/cgroup".into())),
        ("--no-socket-level", |c| c.cgroup == CgroupChoice::Off),
        ("--log-level info", |c| c.cgroup == CgroupChoice::Root),
        ("--max-services 10 --max-frontends 11", |c| (c.sizes.services, c.sizes.frontends) == (10, 11)),
        ("--max-backends 12 --max-ring-lines 13", |c| (c.sizes.backends, c.sizes.ring_lines) == (12, 13)),
        ("--max-flows 14 --max-half-open-flows 15", |c| (c.sizes.flows, c.sizes.half_open_flows) == (14, 15)),
        ("--flow-memory 660Mi", |c| (c.sizes.flows, c.sizes.half_open_flows) == (1 << 20, 1 << 18)),
        ("--admin [::1]:9", |c| c.admin == "[::1]:9".parse().unwrap()),
        ("--dry-run", |c| c.dry_run),
        ("--log-format json --log-level debug", |c| (c.log_format, c.log_level) == (LogFormat::Json, LogLevel::Debug)),
    ];
    for (line, check) in table {
        let config = right(line);
        assert!(check(&config), "{line}: {config:?}");
    }
}

#[test]
fn a_mistake_names_flag_value_and_what_would_be_right() {
    let table = [
        ("--source kubernetes", "--source 'kubernetes': expected dir:PATH"),
        ("--xdp generic", "--xdp 'generic': expected auto, native or off"),
        ("--interface a/b", "--interface 'a/b': expected the name of an interface"),
        ("--interface a-name-that-is-too-long", "expected the name of an interface"),
        ("--node-name Node_1", "--node-name 'Node_1': expected a name of lower-case letters"),
        ("--node-ip 300.1.1.1", "--node-ip '300.1.1.1': expected an IPv4 or IPv6 address"),
        ("--pod-cidr 10.0.0.0/33", "--pod-cidr '10.0.0.0/33': expected a network"),
        ("--nodeport-addresses all", "--nodeport-addresses 'all': expected a network"),
        ("--snat-ports 20000", "--snat-ports '20000': expected two ports A-B"),
        ("--snat-ports 29999-15000", "expected two ports A-B"),
        ("--snat-ports 20000-31000", "outside the NodePorts 30000-32767"),
        ("--snat-ports 80-90", "1024 <= A"),
        ("--syn-limit many", "--syn-limit 'many': expected a number of connections"),
        ("--snat-address me", "--snat-address 'me': expected an IPv4"),
        ("--node-ip fe80::1", "--node-ip 'fe80::1': expected an address that other machines can reach"),
        ("--snat-address ff02::1", "--snat-address 'ff02::1': expected an address that other machines can reach"),
        ("--fwmark 3", "--fwmark '3': expected one bit"),
        ("--fwmark 0", "--fwmark '0': expected one bit"),
        ("--table 254", "--table '254': expected the number of a routing table other than"),
        ("--front-label weir", "--front-label 'weir': expected a label KEY=VALUE"),
        ("--http-port 70000", "--http-port '70000': expected a port"),
        ("--http-port 443", "--https-port '443': expected another port"),
        ("--default-backend-service web", "--default-backend-service 'web': expected NAMESPACE/NAME"),
        ("--configmap a/b/c", "--configmap 'a/b/c': expected NAMESPACE/NAME"),
        ("--ingress-class Nginx!", "--ingress-class 'Nginx!'"),
        ("--pin-path weir", "--pin-path 'weir': expected an absolute path"),
        ("--pin-path /sys/fs/bpf/../x", "expected an absolute path"),
        ("--max-flows 0", "--max-flows '0': expected a number of entries from 2"),
        ("--flow-memory 5", "--flow-memory '5': expected bytes from 1Mi"),
        ("--flow-memory 1Ti", "--flow-memory '1Ti': expected bytes from 1Mi"),
        ("--max-ring-lines many", "--max-ring-lines 'many': expected a number of entries"),
        ("--admin 10254", "--admin '10254': expected ADDRESS:PORT"),
        ("--log-format yaml", "--log-format 'yaml': expected text or json"),
        ("--when-replaced stop", "--when-replaced 'stop': expected end or stand-by"),
        ("--log-level loud", "--log-level 'loud': expected error, warn, info, debug or trace"),
    ];
    for (line, expected) in table {
        let found = wrong(line);
        assert!(found.contains(expected), "{line}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn every_command_wants_an_absolute_pin_path() {
    let pin_path = |command: &str, path: &str| {
        let parsed = cli::parse(["weir", command, "--pin-path", path]).expect("clap takes it");
        match parsed.command {
            Command::Unload(args) => Unload::try_from(&args).map(|unload| unload.pin_path),
            Command::Status(args) | Command::Services(args) | Command::Backends(args) | Command::Routes(args) => {
                Reader::try_from(&args).map(|reader| reader.pin_path)
            }
            other => panic!("{other:?}"),
        }
    };
    for command in ["unload", "status", "services", "backends", "routes"] {
        assert_eq!(pin_path(command, "/sys/fs/bpf/x"), Ok(PathBuf::from("/sys/fs/bpf/x")));
        for path in ["weir", "/sys/fs/bpf/../x"] {
            let error = pin_path(command, path).expect_err(command).to_string();
            assert!(error.contains("--pin-path") && error.contains("expected an absolute path"), "{error}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = wrong("--node-ip x --admin y --log-level z --pod-cidr w");
    let flags: Vec<_> = found.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(flags, ["--node-ip", "--admin", "--log-level", "--pod-cidr"]);
}

#[test]
fn the_kubernetes_source_is_the_cluster_or_a_kubeconfig_and_only_once() {
    let sources = |line: &str| config(line).expect("no mistake").sources;
    assert_eq!(sources("--source kube"), [SourceChoice::Kube { kubeconfig: None }]);
    let file = SourceChoice::Kube { kubeconfig: Some("/k".into()) };
    assert_eq!(sources("--source dir:/m --source kube --kubeconfig /k"), [dir("/m"), file.clone()]);
    assert_eq!(
        (file.to_string(), sources("--source kube")[0].to_string()),
        ("kube:/k".into(), "kube:in-cluster".into())
    );
    assert!(wrong("--source kube --source kube").contains("only once"));
    assert!(wrong("--kubeconfig /k").contains("--source kube beside it"));
}

#[test]
fn flags_that_do_nothing_yet_say_so() {
    let config = right(
        "--fast-local --snat-address 2001:db8::1 --snat-address 2001:db8::2 --snat-address 10.0.0.1 --snat-address 10.0.0.2",
    );
    let told: Vec<_> = config.not_yet.iter().map(|p| (p.field.as_deref(), p.value.as_deref())).collect();
    assert_eq!(
        told,
        [
            (Some("--snat-address"), Some("2001:db8::2")),
            (Some("--snat-address"), Some("10.0.0.2")),
            (Some("--fast-local"), Some("true")),
        ]
    );
    for problem in &config.not_yet {
        assert_eq!((problem.severity, problem.code.as_str()), (Severity::Info, "not-yet"));
        assert!(problem.message.starts_with(problem.field.as_deref().unwrap()), "{}", problem.message);
    }
}
