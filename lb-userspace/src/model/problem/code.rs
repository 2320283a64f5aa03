//! Every code of a Problem. Codes are part of the contract with scripts: they may be added to, never renamed.

/// A file or directory cannot be read.
pub const FILE_UNREADABLE: &str = "file-unreadable";
/// A file is larger than what is read.
pub const FILE_TOO_LARGE: &str = "file-too-large";
/// A file is not YAML or JSON.
pub const YAML_INVALID: &str = "yaml-invalid";
/// A document has no `apiVersion` and `kind`.
pub const KIND_MISSING: &str = "kind-missing";
/// A known kind under a version that is not known.
pub const API_VERSION_UNKNOWN: &str = "api-version-unknown";
/// A field has a value of the wrong type.
pub const FIELD_INVALID: &str = "field-invalid";
/// The name or namespace of an object is not one.
pub const NAME_INVALID: &str = "name-invalid";
/// The same object is given twice.
pub const OBJECT_DUPLICATE: &str = "object-duplicate";

/// A Service's type is not known.
pub const SERVICE_TYPE_UNKNOWN: &str = "service-type-unknown";
/// A Service is of a type that cannot serve here.
pub const SERVICE_TYPE_UNSUITABLE: &str = "service-type-unsuitable";
/// A Service has no port.
pub const SERVICE_PORTS_MISSING: &str = "service-ports-missing";
/// A port number is not one.
pub const PORT_INVALID: &str = "port-invalid";
/// A port is given twice in one Service.
pub const PORT_DUPLICATE: &str = "port-duplicate";
/// A Service with several ports leaves one without a name, or uses a name twice.
pub const PORT_NAME_INVALID: &str = "port-name-invalid";
/// A protocol is not known.
pub const PROTOCOL_UNKNOWN: &str = "protocol-unknown";
/// A port of SCTP would become another on the way, which its checksum forbids.
pub const SCTP_PORT_MAPPED: &str = "sctp-port-mapped";
/// An address is not one, or not one that can be a VIP or a backend.
pub const ADDRESS_INVALID: &str = "address-invalid";
/// An address of a family that the Service is not balanced in.
pub const ADDRESS_OF_OTHER_FAMILY: &str = "address-of-other-family";
/// A Service has clients in a family in which it has no backend.
pub const FAMILY_WITHOUT_BACKENDS: &str = "family-without-backends";
/// `nodePort` on a Service that is neither NodePort nor LoadBalancer, or `healthCheckNodePort` on one that has no use for it.
pub const NODE_PORT_UNUSED: &str = "node-port-unused";
/// A `nodePort` outside of the range for node ports.
pub const NODE_PORT_OUT_OF_RANGE: &str = "node-port-out-of-range";
/// Two Services ask for the same node port.
pub const NODE_PORT_CONFLICT: &str = "node-port-conflict";
/// There is no free node port left.
pub const NODE_PORTS_EXHAUSTED: &str = "node-ports-exhausted";
/// An allocated node port is another than before.
pub const NODE_PORT_MOVED: &str = "node-port-moved";
/// Two pods of a node ask for the same host port.
pub const HOST_PORT_CONFLICT: &str = "host-port-conflict";
/// A Service has the port of the node that a pod asks for as host port.
pub const HOST_PORT_TAKEN: &str = "host-port-taken";
/// A node cannot listen on the port at which outer load balancers ask for the health of a Service.
pub const HEALTH_CHECK_UNHEARD: &str = "health-check-unheard";
/// Two Services ask for the same address, port and protocol.
pub const FRONTEND_CONFLICT: &str = "frontend-conflict";
/// Another station of the network says that it has an address that this node announces.
pub const ADDRESS_CONTESTED: &str = "address-contested";
/// Routers are to be told of addresses, and the agent was started without a BIRD.
pub const BGP_OFF: &str = "bgp-off";
/// Two Announcements say different things of one router.
pub const BGP_PEER_CONFLICT: &str = "bgp-peer-conflict";
/// A node is to speak with more routers than it can.
pub const BGP_PEERS_EXHAUSTED: &str = "bgp-peers-exhausted";
/// There is no session with a router.
pub const BGP_SESSION_DOWN: &str = "bgp-session-down";
/// BIRD does not answer; it goes on by itself, if it runs.
pub const BIRD_UNREACHABLE: &str = "bird-unreachable";
/// BIRD refuses its configuration, or it could not be written; it goes on with what it had.
pub const BIRD_REFUSED: &str = "bird-refused";
/// The routing table that BIRD reads could not be written.
pub const BGP_ROUTES_FAILED: &str = "bgp-routes-failed";
/// A Service of type LoadBalancer has no address, and there is no pool to give one.
pub const LOAD_BALANCER_NO_POOL: &str = "load-balancer-no-pool";
/// Two pools have the same addresses; the older one has them.
pub const POOL_OVERLAP: &str = "pool-overlap";
/// A pool has no address left for a Service that waits for one.
pub const POOL_EXHAUSTED: &str = "pool-exhausted";
/// No pool is for this Service, or none has addresses of the family that it wants.
pub const POOL_UNSUITABLE: &str = "pool-unsuitable";
/// An address that a Service has or asks for is in no pool, or in one that is not for it.
pub const ADDRESS_NOT_IN_POOL: &str = "address-not-in-pool";
/// An address that a Service asks for is another Service's.
pub const ADDRESS_TAKEN: &str = "address-taken";
/// A Service may not use an external IP.
pub const EXTERNAL_IP_DENIED: &str = "external-ip-denied";
/// There is no such pool.
pub const POOL_MISSING: &str = "pool-missing";
/// A Service of the front leads to a port that the front does not have.
pub const FRONT_PORT_UNKNOWN: &str = "front-port-unknown";
/// What stands in `loadBalancerSourceRanges` is not a network; it lets nobody in.
pub const SOURCE_RANGE_INVALID: &str = "source-range-invalid";
/// `loadBalancerSourceRanges` names no network of a family in which the Service has an address, which nobody reaches then.
pub const SOURCE_RANGES_CLOSED: &str = "source-ranges-closed";
/// There is no such algorithm.
pub const ALGORITHM_INVALID: &str = "algorithm-invalid";
/// An algorithm that does not choose alike on every node, for a Service that forwards by DSR.
pub const ALGORITHM_UNSUITABLE: &str = "algorithm-unsuitable";
/// `weir.io/syn-cookies` is neither true nor false.
pub const SYN_COOKIES_INVALID: &str = "syn-cookies-invalid";
/// SYN cookies are asked for where the front does not answer.
pub const SYN_COOKIES_UNSUITABLE: &str = "syn-cookies-unsuitable";
/// Nearer backends are asked for where every node has to choose alike.
pub const TOPOLOGY_UNSUITABLE: &str = "topology-unsuitable";
/// Clients of a Service are dropped, because no port is free for source NAT.
pub const SNAT_EXHAUSTED: &str = "snat-exhausted";
/// New TCP connections are dropped, because too many come that no client goes on with.
pub const SYN_LIMITED: &str = "syn-limited";
/// There is no room for another proven flow.
pub const FLOW_TABLE_FULL: &str = "flow-table-full";
/// A weight is not one.
pub const WEIGHT_INVALID: &str = "weight-invalid";
/// A line of the list of denied networks is not a network.
pub const DENIED_INVALID: &str = "denied-invalid";
/// The list of denied networks cannot be read; those that were denied stay so.
pub const DENIED_UNREADABLE: &str = "denied-unreadable";

/// An Ingress is of a class that is not ours.
pub const INGRESS_CLASS_FOREIGN: &str = "ingress-class-foreign";
/// An Ingress has neither rules nor a default backend.
pub const INGRESS_EMPTY: &str = "ingress-empty";
/// A host is not one.
pub const HOST_INVALID: &str = "host-invalid";
/// A path is not one.
pub const PATH_INVALID: &str = "path-invalid";
/// A `pathType` is missing or not known.
pub const PATH_TYPE_INVALID: &str = "path-type-invalid";
/// Host and path are taken by an older Ingress.
pub const ROUTE_CONFLICT: &str = "route-conflict";
/// A canary Ingress has no other Ingress of its namespace with the same host and path.
pub const CANARY_WITHOUT_MAIN: &str = "canary-without-main";
/// A backend names no Service.
pub const BACKEND_INVALID: &str = "backend-invalid";
/// A backend is a resource other than a Service.
pub const BACKEND_RESOURCE: &str = "backend-resource-unsupported";
/// The front would be its own backend.
pub const BACKEND_LOOP: &str = "backend-loop";
/// The Service does not exist.
pub const SERVICE_MISSING: &str = "service-missing";
/// The Service has no such port.
pub const SERVICE_PORT_MISSING: &str = "service-port-missing";
/// A rewrite target cannot be used.
pub const REWRITE_INVALID: &str = "rewrite-invalid";
/// A rewrite means one thing here and another for ingress-nginx since 0.22.
pub const REWRITE_AMBIGUOUS: &str = "rewrite-ambiguous";
/// Paths beside a rewrite target are taken as written; ingress-nginx takes them for regular expressions.
pub const REGEX_NOT_IMPLIED: &str = "regex-not-implied";
/// A path matches element by element; for ingress-nginx it matches by characters.
pub const PREFIX_BY_ELEMENTS: &str = "prefix-by-elements";
/// Requests without the slash at the end of a path are not redirected to it, as ingress-nginx does.
pub const SLASH_NOT_REDIRECTED: &str = "slash-not-redirected";
/// `weir.io/asset-fallback` on a host of which one rule takes every path.
pub const ASSET_FALLBACK_UNUSED: &str = "asset-fallback-unused";
/// A path is taken as written although its host has regular expressions; ingress-nginx takes it for one too.
pub const LITERAL_BESIDE_REGEX: &str = "literal-beside-regex";
/// A Service asks for a way of forwarding that there is not.
pub const FORWARDING_INVALID: &str = "forwarding-invalid";
/// A Service asks for a way of forwarding and forwards nothing.
pub const FORWARDING_UNUSED: &str = "forwarding-unused";
/// DSR is asked for, but no address of a backend's node is known, so it is reached by source NAT.
pub const FORWARDING_NODE_UNKNOWN: &str = "forwarding-node-unknown";
/// Annotations that are not honoured yet.
pub const ANNOTATIONS_IGNORED: &str = "annotations-ignored";
/// An annotation has a wrong value.
pub const ANNOTATION_INVALID: &str = "annotation-invalid";
/// There is no such annotation.
pub const ANNOTATION_UNKNOWN: &str = "annotation-unknown";
/// An annotation that is not honoured on purpose.
pub const ANNOTATION_REFUSED: &str = "annotation-refused";

/// A Secret that an object or a flag names does not exist, or has nothing in it of what is needed.
pub const SECRET_MISSING: &str = "secret-missing";
/// A value of a Secret cannot be used.
pub const SECRET_INVALID: &str = "secret-invalid";
/// A certificate or its key cannot be used.
pub const CERTIFICATE_INVALID: &str = "certificate-invalid";
/// A certificate is not for the host that has it.
pub const CERTIFICATE_NAME_MISMATCH: &str = "certificate-name-mismatch";
/// A certificate ends soon, has ended or has not begun.
pub const CERTIFICATE_EXPIRY: &str = "certificate-expiry";
/// Two Ingresses ask for different things in TLS for one host; the older one has it.
pub const TLS_CONFLICT: &str = "tls-conflict";

/// A ConfigMap that a flag names does not exist.
pub const CONFIGMAP_MISSING: &str = "configmap-missing";
/// A key or value of a ConfigMap cannot be used.
pub const CONFIGMAP_INVALID: &str = "configmap-invalid";
/// There is no such setting of the front.
pub const CONFIGMAP_KEY_UNKNOWN: &str = "configmap-key-unknown";
/// A setting that is not honoured on purpose, or that has nothing to steer here.
pub const CONFIGMAP_KEY_REFUSED: &str = "configmap-key-refused";
/// Proxies are believed wherever they are.
pub const PROXIES_NOT_NAMED: &str = "proxies-not-named";
/// A host belongs to another namespace, or is not granted to this one.
pub const HOST_DENIED: &str = "host-denied";

/// A Service has an address and port of the node on which the front would answer.
pub const FRONT_ADDRESS_TAKEN: &str = "front-address-taken";
/// There is no id left for a service.
pub const SERVICES_EXHAUSTED: &str = "services-exhausted";
/// There is no id left for a backend.
pub const BACKENDS_EXHAUSTED: &str = "backends-exhausted";
/// A map has no room for an entry.
pub const MAP_FULL: &str = "map-full";
/// A write to a map failed.
pub const MAP_WRITE_FAILED: &str = "map-write-failed";
/// Some writes were put off because others failed.
pub const PLAN_INCOMPLETE: &str = "plan-incomplete";

/// Something valid that weir does not do yet.
pub const NOT_YET: &str = "not-yet";

/// Another socket of the host listens where the front would answer.
pub const FRONT_PORT_TAKEN: &str = "front-port-taken";
/// A source has not delivered a complete picture in time.
pub const SOURCE_INCOMPLETE: &str = "source-incomplete";
/// The API server does not answer; what it last said stays in force.
pub const API_UNREACHABLE: &str = "api-unreachable";
/// The API server does not let us read or write what we have to.
pub const API_FORBIDDEN: &str = "api-forbidden";
/// The API server refuses a request for another reason.
pub const API_REFUSED: &str = "api-refused";
/// Services found in the maps at start are kept, because a file that may ask for them was never read well.
pub const SERVICES_KEPT: &str = "services-kept";
/// Somebody else changed the maps; they are put right.
pub const MAPS_CHANGED: &str = "maps-changed";
/// tc takes the packets of an interface, because XDP there would miss some or does not exist.
pub const XDP_NOT_USED: &str = "xdp-not-used";
/// The driver of an interface does not run XDP natively; tc takes its packets.
pub const XDP_NOT_NATIVE: &str = "xdp-not-native";
/// Somebody else's XDP program is on an interface; tc takes the packets that it passes.
pub const XDP_FOREIGN: &str = "xdp-foreign";
/// An interface that was named is a port of another one, to which the programs go.
pub const INTERFACE_REPLACED: &str = "interface-replaced";
/// The packets of an interface have no Ethernet header; it is left alone.
pub const INTERFACE_NOT_ETHERNET: &str = "interface-not-ethernet";
/// Backends on other nodes are not reached: there is no route, or it leads through a device without an address.
pub const BACKENDS_UNREACHABLE: &str = "backends-unreachable";
/// Programs or addresses could not follow a change of the node's interfaces.
pub const INTERFACES_NOT_FOLLOWED: &str = "interfaces-not-followed";
/// The front cannot answer for VIPs that are on no interface.
pub const FRONT_NOT_TRANSPARENT: &str = "front-not-transparent";
/// The front runs without its filter of system calls.
pub const FRONT_UNCONFINED: &str = "front-unconfined";
/// The name behind an ExternalName Service, or in an auth-url, has no address.
pub const NAME_UNRESOLVED: &str = "name-unresolved";
/// kube-proxy runs on this node as well.
pub const KUBE_PROXY_RUNS: &str = "kube-proxy-runs";
/// A kube-proxy that is gone has left its rules on this node.
pub const KUBE_PROXY_RULES_LEFT: &str = "kube-proxy-rules-left";
/// The front ended and was started again.
pub const FRONT_RESTARTED: &str = "front-restarted";

#[cfg(test)]
mod tests {
    /// Codes and what their documentation says.
    fn documented() -> Vec<(String, String)> {
        let mut codes = Vec::new();
        let mut said = String::new();
        for line in include_str!("code.rs").lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
            if let Some(doc) = line.strip_prefix("/// ") {
                said = format!("{said} {doc}").trim().to_owned();
            } else if let Some(value) = line.strip_prefix("pub const").and_then(|line| line.split('"').nth(1)) {
                codes.push((value.to_owned(), std::mem::take(&mut said)));
            }
        }
        codes
    }

    #[test]
    fn codes_are_unique_and_in_kebab_case() {
        let codes = documented();
        assert!(codes.len() > 30);
        for (index, (code, _)) in codes.iter().enumerate() {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            assert!(codes[..index].iter().all(|(other, _)| other != code), "{code} twice");
        }
    }

    /// `UPDATE_EXPECT=1` writes the table anew.
    #[test]
    fn the_table_in_the_docs_is_this_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/problems.md");
        let text = std::fs::read_to_string(path).expect("docs/problems.md");
        let (before, _) = text.split_once("## Codes\n").expect("a heading");
        let rows: String = documented().iter().map(|(code, said)| format!("| `{code}` | {said} |\n")).collect();
        let updated = format!("{before}## Codes\n\n| code | means |\n|---|---|\n{rows}");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &updated).expect("written");
        } else {
            assert_eq!(text, updated, "UPDATE_EXPECT=1 accepts this");
        }
    }
}
