//! Ports of the node that ConfigMaps lead to Services, in the kernel.

use anyhow::{Result, ensure};
use weir_lab::{ask_tcp, ask_udp};

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
            ensure!(ask_tcp(&cluster.client, node.port(9001), None).is_err(), "a port with PROXY is served");
        }
        let told = problems(&cluster.nodes[0])?;
        ensure!(told.iter().any(|problem| problem["value"] == "default/web:80:PROXY"), "{told:?}");
        Ok(())
    })
}
