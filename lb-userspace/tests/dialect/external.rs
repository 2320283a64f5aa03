use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use lb_userspace::clock::{now, since};

use crate::harness::{Site, ingress};
use crate::pod::Pod;

/// A name server that knows some addresses of IPv4, which hold for a second.
struct NameServer {
    address: SocketAddr,
    known: Arc<Mutex<BTreeMap<String, Ipv4Addr>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        let (known, asked) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let server = NameServer { address, known: Arc::clone(&known), asked: Arc::clone(&asked) };
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let question = &buffer[..length];
                let (name, kind) = read(question);
                asked.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
                let found = known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
                let _ = socket.send_to(&answer(question, found, kind), client);
            }
        });
        server
    }

    fn set(&self, name: &str, address: Option<Ipv4Addr>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match address {
            Some(address) => known.insert(name.to_owned(), address),
            None => known.remove(name),
        };
    }

    fn times(&self, name: &str) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|asked| *asked == name).count()
    }
}

/// Name and type of a question.
fn read(message: &[u8]) -> (String, u8) {
    let mut labels = Vec::new();
    let mut at = 12;
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..end]).into_owned());
        at = end;
    }
    (labels.join("."), message[at + 2])
}

fn answer(question: &[u8], found: Option<Ipv4Addr>, kind: u8) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] = 0x81;
    message[3] = if found.is_some() { 0x80 } else { 0x83 };
    if let Some(address) = found.filter(|_| kind == 1) {
        message[7] = 1;
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        message.extend_from_slice(&address.octets());
    }
    message
}

fn service(host: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: outside}}\nspec: {{type: ExternalName, externalName: {host}}}\n"
    )
}

/// The Ingress names the port at which the pod listens: the Service has none.
fn manifest(host: &str, pod: &Pod) -> String {
    let port = format!("number: {}", pod.address.port());
    service(host) + &ingress("outside", "a.example", "/", &[]).replace("number: 80", &port)
}

#[test]
fn names_are_resolved_and_resolved_again() {
    let names = NameServer::start();
    let pod = Pod::echo();
    names.set("www.example.test", Some(Ipv4Addr::LOCALHOST));
    let site = Site::with_names(1, &manifest("www.example.test", &pod), &[], &[names.address]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let reply = site.get("a.example", "/x", &[]);
    assert_eq!((reply.status, reply.body.as_str()), (200, "GET /x HTTP/1.1"));
    assert_eq!(pod.seen()[0].header("host"), Some("a.example"));
    let start = now();
    for _ in 0..20 {
        assert_eq!(site.get("a.example", "/x", &[]).status, 200);
    }
    // For both families, and again after each second.
    let most = 2 * (since(start).as_secs() as usize + 3);
    assert!(names.times("www.example.test") <= most, "asked {} times", names.times("www.example.test"));

    // 127.0.0.2 has no such pod: the change shows.
    names.set("www.example.test", Some(Ipv4Addr::new(127, 0, 0, 2)));
    site.eventually("the new address", || site.get("a.example", "/x", &[]).status == 502);
    names.set("www.example.test", Some(Ipv4Addr::LOCALHOST));
    site.eventually("the old one", || site.get("a.example", "/x", &[]).status == 200);
}

#[test]
fn a_name_without_an_address_is_said() {
    let names = NameServer::start();
    let pod = Pod::echo();
    let site = Site::with_names(1, &manifest("gone.example.test", &pod), &[], &[names.address]);
    let reply = site.get("a.example", "/x", &[]);
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("gone.example.test") && reply.body.contains("no address"), "{}", reply.body);
    site.eventually("the agent to hear of it", || site.unresolved() == ["gone.example.test"]);
    names.set("gone.example.test", Some(Ipv4Addr::LOCALHOST));
    site.eventually("the name to lead somewhere", || site.get("a.example", "/x", &[]).status == 200);
    site.eventually("the agent to hear of it", || site.unresolved().is_empty());
}

#[test]
fn names_that_clients_make_up_are_not_said() {
    let names = NameServer::start();
    let own = ingress("own", "own.example", "/", &[("auth-url", "http://gone.example.test/check")]);
    let any = ingress("any", "*.any.example", "/", &[("auth-url", "http://$host/check")]);
    let (own_pod, any_pod) = (Pod::echo(), Pod::echo());
    let site = Site::with_names(1, &(own + &any), &[("own", &own_pod), ("any", &any_pod)], &[names.address]);
    for number in 0..20 {
        assert_eq!(site.get(&format!("x{number}.any.example"), "/", &[]).status, 503);
    }
    assert!(names.times("x19.any.example") > 0, "nobody asked for it");
    assert_eq!(site.get("own.example", "/", &[]).status, 503);
    // What the agent hears is a whole list: the made-up names came first.
    site.eventually("the agent to hear of it", || !site.unresolved().is_empty());
    assert_eq!(site.unresolved(), ["gone.example.test"]);
}

#[test]
fn clients_do_not_choose_the_port_of_an_authentication_service() {
    let names = NameServer::start();
    names.set("a.example", Some(Ipv4Addr::LOCALHOST));
    let (web, anybody) = (Pod::echo(), Pod::echo());
    let manifests = ingress("web", "a.example", "/", &[("auth-url", "http://$http_host/check")]);
    let site = Site::with_names(1, &manifests, &[("web", &web)], &[names.address]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let reply = site.get(&format!("a.example:{}", anybody.address.port()), "/", &[]);
    assert_ne!(reply.status, 200, "{reply:?}");
    assert!(names.times("a.example") > 0 && anybody.seen().is_empty() && web.seen().is_empty());
}

#[test]
fn what_is_no_name_is_a_problem() {
    let pod = Pod::echo();
    let site = Site::with_names(1, &manifest("\"not a name\"", &pod), &[], &[]);
    assert_eq!(site.codes(), ["host-invalid"]);
    assert_eq!(site.get("a.example", "/", &[]).status, 503);
}

#[test]
fn addresses_of_ipv6_are_not_asked_for_where_that_is_said() {
    let servers = NameServer::start();
    let pod = Pod::echo();
    servers.set("shop.example", Some(Ipv4Addr::LOCALHOST));
    let service = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{type: ExternalName, externalName: shop.example, ports: [{{port: {}}}]}}\n",
        pod.address.port()
    );
    let rule = ingress("web", "a.example", "/", &[]).replace("number: 80", &format!("number: {}", pod.address.port()));
    for (value, questions) in [("false", 2), ("true", 1)] {
        let before = servers.times("shop.example");
        let manifests = service.clone() + &rule;
        let site = Site::configured_with_names(&[("disable-ipv6-dns", value)], &manifests, &[servers.address]);
        assert_eq!(site.get("a.example", "/", &[]).status, 200);
        site.eventually("all questions", || servers.times("shop.example") >= before + questions);
        assert_eq!(servers.times("shop.example"), before + questions, "disable-ipv6-dns: {value}");
    }
}
