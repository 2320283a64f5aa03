//! What the front does to requests and answers.

use anyhow::{Result, ensure};
use weir_lab::{CLIENT, Cluster, Request};

use crate::common::{add_seed, scenario};

fn tomcat(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
    cluster.write_pods()?;
    add_seed(cluster, "08-ingress-default-backend.yaml")?;
    cluster.start_agents()
}

#[test]
#[ignore = "needs root"]
fn the_pod_learns_of_the_client() -> Result<()> {
    scenario(|cluster| {
        tomcat(cluster)?;
        for node in &cluster.nodes {
            let request = Request::get("shop.test", "/a?b=c")
                .header("X-Forwarded-For", "203.0.113.7")
                .header("X-Real-IP", "203.0.113.8")
                .header("Connection", "X-Secret")
                .header("X-Secret", "hop")
                .header("X-Custom", "end to end");
            let response = request.send(&cluster.client, node.port(80))?;
            ensure!(response.status == 200, "{} {}", response.status, response.text());
            for (name, expected) in [
                ("x-forwarded-for", Some(CLIENT.to_string())),
                ("x-real-ip", Some(CLIENT.to_string())),
                ("x-forwarded-proto", Some("http".to_owned())),
                ("x-forwarded-host", Some("shop.test".to_owned())),
                ("host", Some("shop.test".to_owned())),
                ("x-custom", Some("end to end".to_owned())),
                ("x-secret", None),
            ] {
                let seen = response.seen_header(name)?;
                ensure!(seen == expected, "{name}: {seen:?}, expected {expected:?}");
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn connections_are_kept_and_bodies_stream_both_ways() -> Result<()> {
    scenario(|cluster| {
        tomcat(cluster)?;
        let to = cluster.nodes[0].port(80);
        let requests: Vec<_> = (0..20).map(|n| Request::get("x.test", &format!("/{n}"))).collect();
        let answers = Request::send_all(&requests, &cluster.client, to)?;
        for (number, answer) in answers.iter().enumerate() {
            ensure!(answer.field("path")? == format!("/{number}"), "{number}: {}", answer.text());
        }
        let length = 5_000_000;
        let answer = Request::get("x.test", &format!("/bytes/{length}")).send(&cluster.client, to)?;
        ensure!(answer.body.len() == length, "{} bytes came down", answer.body.len());
        let answer = Request::post("x.test", "/up", vec![b'x'; length]).send(&cluster.client, to)?;
        ensure!(answer.json()?["bodyBytes"] == length, "{}", answer.text());
        let chunked = b"POST /c HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let answer = Request::send_raw(&cluster.client, to, chunked)?;
        ensure!(answer.json()?["bodyBytes"] == 5, "{} {}", answer.status, answer.text());
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn doubtful_requests_are_refused_and_never_reach_a_pod() -> Result<()> {
    scenario(|cluster| {
        tomcat(cluster)?;
        let to = cluster.nodes[0].port(80);
        for (what, head) in [
            ("no Host", "GET / HTTP/1.1\r\n\r\n"),
            ("two Hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
            ("a Host with a path", "GET / HTTP/1.1\r\nHost: a.test/b\r\n\r\n"),
            (
                "length and chunked",
                "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            ("two lengths", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            ("a signed length", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\na"),
            (
                "chunked twice",
                "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            ),
            ("an unknown coding", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            ("a space before the colon", "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n"),
            ("a folded header", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n"),
        ] {
            let answer = Request::send_raw(&cluster.client, to, head.as_bytes());
            // Refused with a status, or the connection is closed; both are right, an answer of the pod is not.
            if let Ok(answer) = answer {
                ensure!((400..=501).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
                ensure!(!answer.text().contains("tomcat"), "{what}: {}", answer.text());
            }
        }
        let answer = Request::get("a.test", "/").send(&cluster.client, to)?;
        ensure!(answer.status == 200, "after all that: {}", answer.status);
        Ok(())
    })
}
