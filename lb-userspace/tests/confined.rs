//! What the process `weir front` may still ask of the kernel. This program is started as one by the agent's own code, confines
//! itself as the front does, and tries what it must not be able to do. Needs root, as the agent does.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use lb_userspace::l7::front;
use lb_userspace::l7::supervisor::{Front, FrontConfig};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Signal, getppid, kill_process};

/// Written behind the last line.
const END: &str = "end";

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("front") => confined(),
        Some("agent") => agent(),
        // What the harness of other tests understands is of no use here.
        _ => test(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<(), Box<dyn Error>> {
    if !rustix::process::geteuid().is_root() {
        println!("confined: skipped, it needs root");
        return Ok(());
    }
    let mut agent = Command::new("/proc/self/exe").arg("agent").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(agent.stdout.take().ok_or("no output")?).lines();
    let told: Vec<String> = lines.map_while(Result::ok).take_while(|line| line != END).collect();
    // It ends when its input does.
    drop(agent.stdin.take());
    agent.wait()?;
    let wrong: Vec<_> = told.iter().filter(|line| !line.starts_with("good ")).collect();
    if told.len() < 20 || !wrong.is_empty() {
        return Err(format!("{} lines, of them wrong: {wrong:#?}", told.len()).into());
    }
    println!("confined: {} things tried", told.len());
    Ok(())
}

/// Starts this program as the front, and holds it until the test has heard enough.
fn agent() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let front = Front::start(FrontConfig { cores: 1, ..FrontConfig::new(dir.path()) }).await?;
        let mut status = front.watch_status();
        tokio::select! {
            over = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())) => drop(over??),
            _ = status.wait_for(|status| status.restarts > 0) => println!("wrong it ended\n{END}"),
        }
        // Without a farewell: it ends by itself when its control socket closes.
        drop(front);
        Ok(())
    })
}

/// As the front, after everything is open.
fn confined() -> Result<(), Box<dyn Error>> {
    front::confine()?;
    refused("write a file", std::fs::write("/tmp/weir-confined", "x"));
    refused("read a file", File::open("/etc/shadow"));
    refused("read what all may read", File::open("/etc/hosts"));
    refused("read its parent's memory", File::open(format!("/proc/{}/mem", parent())));
    refused("list a directory", std::fs::read_dir("/"));
    refused("make a directory", std::fs::create_dir("/tmp/weir-confined"));
    refused("remove a file", std::fs::remove_file("/tmp/weir-confined"));
    refused("start a program", Command::new("/bin/true").spawn());
    refused("end its parent", getppid().ok_or(Errno::PERM).and_then(|parent| kill_process(parent, Signal::KILL)));
    refused("ask after its parent", getppid().ok_or(Errno::PERM).and_then(rustix::process::test_kill_process));
    refused(
        "hold another process",
        getppid()
            .ok_or(Errno::PERM)
            .and_then(|parent| rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty())),
    );
    refused("become root", rustix::thread::set_thread_uid(rustix::process::Uid::ROOT));
    #[expect(deprecated, reason = "what is unsafe about it is what it shall not be able to do")]
    refused("have namespaces of its own", rustix::thread::unshare(rustix::thread::UnshareFlags::NEWUSER));
    refused("mount", rustix::mount::mount_bind("/", "/mnt"));
    refused("change its root", rustix::process::chroot("/tmp"));
    refused("raise a limit", raise_core());
    refused("talk to the kernel's networks", socket(AddressFamily::NETLINK, SocketType::RAW, None));
    refused("send frames", socket(AddressFamily::PACKET, SocketType::RAW, None));
    refused("send packets of its own", socket(AddressFamily::INET, SocketType::RAW, None));
    refused("ping", socket(AddressFamily::INET, SocketType::DGRAM, Some(rustix::net::ipproto::ICMP)));
    refused("reach local services", UnixStream::connect("/run/dbus/system_bus_socket"));
    refused("open a pair of sockets", UnixStream::pair());
    refused("listen", TcpListener::bind("127.0.0.1:0"));
    refused("listen at a low port", TcpListener::bind("127.0.0.1:80"));
    // What it does all day.
    allowed("a thread", std::thread::Builder::new().spawn(|| 1).map(|thread| thread.join().is_ok()));
    allowed("a datagram", UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", socket.local_addr()?)));
    match TcpStream::connect("127.0.0.1:1") {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => println!("good a connection is tried"),
        other => println!("wrong a connection: {other:?}"),
    }
    println!("{END}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn parent() -> i32 {
    getppid().map_or(0, |parent| parent.as_raw_nonzero().get())
}

fn raise_core() -> Result<(), Errno> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })
}

fn refused<T, E: std::fmt::Debug>(what: &str, result: Result<T, E>) {
    match result {
        Ok(_) => println!("wrong it can {what}"),
        Err(error) => println!("good {what}: {error:?}"),
    }
}

fn allowed<T: std::fmt::Debug>(what: &str, result: io::Result<T>) {
    match result {
        Ok(_) => println!("good {what}"),
        Err(error) => println!("wrong it cannot have {what}: {error}"),
    }
}
