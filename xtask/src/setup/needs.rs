//! What is needed, and whether it is there: by tool and version, not by package.

use ebpf_build::Plan;

use super::Use;
use crate::host;

/// One tool.
pub(super) struct Need {
    /// What for.
    pub(super) need: &'static str,
    /// What is there, if it does.
    pub(super) found: Option<String>,
    /// What would do.
    pub(super) wanted: String,
    /// Debian's packages for it.
    pub(super) debian: Vec<String>,
}

/// All needs, those of the build first.
pub(super) fn all(plan: &Plan, wanted: Use) -> Vec<Need> {
    let mut needs = vec![
        program("C compiler and linker", "cc", "gcc"),
        program("C++ compiler, for libFuzzer", "c++", "g++"),
        libc_headers(),
        compiler(plan),
    ];
    needs.extend(llvm(plan));
    if wanted >= Use::Demo {
        needs.extend([
            program("network namespaces", "ip", "iproute2"),
            program("to enter namespaces", "nsenter", "util-linux"),
            program("offloads of interfaces", "ethtool", "ethtool"),
            program("other programs' rules", "iptables", "iptables"),
            program("packets on the wire", "tcpdump", "tcpdump"),
            program("a client of the front", "curl", "curl"),
        ]);
    }
    if wanted >= Use::Tests {
        needs.push(program("a browser", "chromium", "chromium"));
        needs.push(program("many requests at once", "h2load", "nghttp2-client"));
        needs.push(program("slow clients", "slowhttptest", "slowhttptest"));
        needs.push(program("a speaker of BGP", "bird", "bird2"));
        needs.push(program("a router", "vtysh", "frr"));
    }
    if wanted >= Use::Benchmarks {
        needs.extend([
            program("a proxy to compare with, and the backend", "nginx", "nginx-light"),
            program("another proxy to compare with", "haproxy", "haproxy"),
            program("load", "h2load", "nghttp2-client"),
        ]);
    }
    needs
}

fn program(need: &'static str, name: &str, package: &str) -> Need {
    let found = host::find(name).map(|path| path.display().to_string());
    Need { need, found, wanted: name.to_owned(), debian: vec![package.to_owned()] }
}

/// A linker without the C library's start files links nothing.
fn libc_headers() -> Need {
    let found = std::path::Path::new("/usr/include/stdlib.h").exists().then(|| "/usr/include/stdlib.h".to_owned());
    Need {
        need: "C library to link with",
        found,
        wanted: "headers and start files".into(),
        debian: vec!["libc6-dev".into()],
    }
}

fn compiler(plan: &Plan) -> Need {
    Need {
        need: "Rust compiler for BPF",
        found: plan.rustc.as_ref().map(|(rustc, _)| format!("{} ({})", rustc.path.display(), rustc.release)),
        wanted: "1.95 with rust-src or core for BPF".to_owned(),
        debian: vec!["rustc-web".to_owned(), "libstd-rust-web-dev-bpf".to_owned()],
    }
}

/// Which LLVM, only the compiler can say.
fn llvm(plan: &Plan) -> Option<Need> {
    let major = plan.rustc.as_ref()?.0.llvm;
    Some(Need {
        need: "LLVM to link bpf-linker with",
        found: plan.llvm.as_ref().map(|llvm| format!("{} ({})", llvm.major, llvm.prefix.display())),
        wanted: format!("{major} or newer, with headers"),
        debian: vec![format!("llvm-{major}-dev")],
    })
}
