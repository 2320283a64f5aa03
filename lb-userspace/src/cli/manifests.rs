//! Flags that decide what manifests mean: the same for the agent and for `weir check`.

use clap::Args;

/// Flags that decide what manifests mean.
#[derive(Debug, Args)]
#[command(next_help_heading = "What manifests mean")]
pub struct ManifestArgs {
    /// Name of this node [default: host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Addresses of the pods of this node [default: from the Node object]; repeatable. A backend is local if its
    /// nodeName is this node's, or, without one, if its address is in here
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Vec<String>,
    /// A Service whose selector these labels satisfy has the node's own front as its backend; repeatable
    #[arg(long, value_name = "K=V", default_value = "app.kubernetes.io/name=weir")]
    pub front_label: Vec<String>,
    /// Port of the front for HTTP; 0 switches it off
    #[arg(long, value_name = "N", default_value = "80")]
    pub http_port: String,
    /// Port of the front for HTTPS; 0 switches it off
    #[arg(long, value_name = "N", default_value = "443")]
    pub https_port: String,
    /// HTTP/3 is spoken too, at the UDP port of --https-port; only where weir was built with the feature `http3`
    #[arg(long)]
    pub http3: bool,
    /// How packets reach backends on other nodes: snat, or dsr (the annotation weir.io/forwarding of a Service is stronger)
    #[arg(long, value_name = "WAY", default_value = "snat")]
    pub forwarding: String,
    /// loadBalancerClass of the Services whose address is weir's to give; those without a class are, too
    #[arg(long, value_name = "NAME", default_value = "weir.io/load-balancer")]
    pub load_balancer_class: String,
    /// Services may use external IPs only out of AddressPools that are for them
    #[arg(long)]
    pub external_ips_from_pools: bool,
    /// Service that gets the requests which no Ingress wants
    #[arg(long, value_name = "NS/NAME")]
    pub default_backend_service: Option<String>,
    /// Secret with the certificate for hosts that have none [default: one that the front makes itself]
    #[arg(long, value_name = "NS/NAME")]
    pub default_ssl_certificate: Option<String>,
    /// ConfigMap with settings of the front
    #[arg(long, value_name = "NS/NAME")]
    pub configmap: Option<String>,
    /// ConfigMap that exposes TCP services
    #[arg(long, value_name = "NS/NAME")]
    pub tcp_services_configmap: Option<String>,
    /// ConfigMap that exposes UDP services
    #[arg(long, value_name = "NS/NAME")]
    pub udp_services_configmap: Option<String>,
    /// Take only Ingresses of this class [default: weir, and those without a class]
    #[arg(long, value_name = "NAME")]
    pub ingress_class: Option<String>,
    /// With --ingress-class: take Ingresses without a class too
    #[arg(long)]
    pub watch_ingress_without_class: bool,
}
