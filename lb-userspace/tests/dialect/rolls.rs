//! Rolling updates under clients of TLS, HTTP/2, gRPC and WebSocket: endpoints come, and those that they replace go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::handshake;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress, ingress_over_tls};
use crate::http2::{over_tls_at, runtime};
use crate::pod::Pod;
use crate::secure_pod::{SecurePod, Speech};
use crate::websocket;

const ROLLS: usize = 5;
/// Pods of the Deployment, and requests of a client at a time.
const REPLICAS: usize = 2;
const STREAMS: usize = 4;

/// Those pods of a Service that are its endpoints now, by their numbers.
fn slice(service: &str, numbers: &[usize]) -> String {
    let endpoints: Vec<_> = numbers.iter().map(|number| format!("{{addresses: [192.0.2.{number}]}}")).collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {service}}}\nspec: {{ports: [{{port: 80, targetPort: 8080}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: {service}-now, labels: \
         {{kubernetes.io/service-name: {service}}}}}\nports: [{{port: 8080}}]\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

/// Calls on one connection over TLS, several at a time, until it is told to end; whatever is no good answer ends the test.
fn calls(port: u16, authority: &Authority, end: &AtomicBool, answered: &AtomicUsize) {
    runtime().block_on(async {
        let stream = TokioIo::new(over_tls_at(port, authority).await);
        let (sender, connection) = handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let one = |mut sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>| async move {
            while !end.load(Ordering::SeqCst) {
                let call =
                    Request::post("https://a.example/pkg.Service/Call").header("content-type", "application/grpc");
                let call = call.body(Full::from("hello")).expect("a request");
                let answer = sender.send_request(call).await.expect("an answer");
                assert_eq!((answer.status(), answer.headers().get("grpc-status")), (StatusCode::OK, None));
                let answer = answer.into_body().collect().await.expect("a body");
                assert!(answer.trailers().is_some_and(|trailers| trailers["grpc-status"] == "0"));
                answered.fetch_add(1, Ordering::SeqCst);
            }
        };
        let all: Vec<_> = (0..STREAMS).map(|_| one(sender.clone())).collect();
        futures_util::future::join_all(all).await;
    });
}

/// Ends the load, also when something fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn calls_and_tunnels_go_on_while_pods_are_rolled() {
    let authority = Authority::new();
    let speech = Speech { http2: true, pair: None, clients: None };
    let pods: Vec<_> = (0..REPLICAS * (ROLLS + 1)).map(|_| SecurePod::start(&speech)).collect();
    let chats = [websocket::echo(), websocket::echo()];
    // Each pod has a Service of its own, which nobody asks: so the site knows their addresses.
    let names: Vec<_> = (0..pods.len()).map(|number| format!("pod-{number}")).collect();
    let mut known: Vec<(&str, &Pod)> = names.iter().map(String::as_str).zip(pods.iter().map(|pod| &pod.pod)).collect();
    known.extend([("chat-0", &chats[0]), ("chat-1", &chats[1])]);
    let routes = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[("backend-protocol", "GRPC")])
        + &ingress("chat", "a.example", "/chat", &[]);
    let with =
        |web: &[usize], chat: usize| routes.clone() + &slice("web", web) + &slice("chat", &[pods.len() + 1 + chat]);
    let mut now: Vec<usize> = (1..=REPLICAS).collect();
    let mut site = Site::on_cores(2, &with(&now, 0), &known);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let ask = "wss://a.example/chat".into_client_request().expect("a URL");
    let (mut socket, _) = tungstenite::client(ask, websocket::secured(&site, &authority)).expect("a handshake");
    let (end, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let served = || pods.iter().map(|pod| !pod.told().is_empty()).collect::<Vec<_>>();
    let port = site.tls_port();
    std::thread::scope(|scope| {
        let running = End(&end);
        for _ in 0..2 {
            scope.spawn(|| calls(port, &authority, &end, &answered));
        }
        for roll in 1..=ROLLS {
            for replica in 1..=REPLICAS {
                let (old, new) = (now.remove(0), roll * REPLICAS + replica);
                let before: Vec<_> = now.iter().copied().chain([old, new]).collect();
                site.apply(&with(&before, roll % 2));
                site.eventually("the new pod to be asked", || served()[new - 1]);
                now.push(new);
                site.apply(&with(&now, roll % 2));
                let message = Message::text(format!("roll {roll} {replica}"));
                socket.send(message.clone()).expect("the tunnel stands");
                assert_eq!(socket.read().expect("an answer"), message);
            }
        }
        drop(running);
    });
    assert!(served().into_iter().all(|served| served), "each pod was asked");
    assert!(answered.load(Ordering::SeqCst) > 50, "{answered:?} calls are no load");
}
