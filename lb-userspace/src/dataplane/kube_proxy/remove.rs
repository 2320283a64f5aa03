//! Removes what a kube-proxy that is gone has left.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::{Family, Rules, find, ipvs, nftables};

/// Why leftovers could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It would make them anew.
    #[error("kube-proxy runs on this node: stop it first (its DaemonSet), else it makes its rules anew")]
    Running,
    /// A program that is needed does not run.
    #[error("cannot run {program}, which is needed to remove rules of {rules}")]
    Program {
        /// Its name.
        program: String,
        /// Whose rules.
        rules: Rules,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// Its name.
        program: String,
        /// What it said.
        message: String,
    },
    /// The kernel did not remove them.
    #[error("cannot remove the {0}")]
    Table(Rules, #[source] io::Error),
}

/// Chains with these names are kube-proxy's own; those of the kubelet and `KUBE-MARK-MASQ`, which both have made, stay.
const CHAINS: [&str; 11] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-NODE-PORT",
    "KUBE-LOAD-BALANCER",
    "KUBE-FORWARD",
    "KUBE-POSTROUTING",
    "KUBE-PROXY-CANARY",
    "KUBE-PROXY-FIREWALL",
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-IPVS-FILTER",
];
/// One chain per Service or endpoint.
const PREFIXES: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-XLB-", "KUBE-EXT-"];

/// Removes the rules of a kube-proxy that does not run any more; tells what was removed, one line each, and what was not.
pub fn remove() -> Result<Vec<String>, RemoveError> {
    let found = find();
    if found.running {
        return Err(RemoveError::Running);
    }
    found.rules.into_iter().map(remove_rules).collect()
}

fn remove_rules(rules: Rules) -> Result<String, RemoveError> {
    match rules {
        Rules::Nftables(family) => {
            nftables::delete_table(family).map_err(|source| RemoveError::Table(rules, source))?;
            Ok(format!("removed {rules}"))
        }
        Rules::Iptables(family) => chains(rules, if family == Family::V4 { "iptables-nft" } else { "ip6tables-nft" }),
        Rules::IptablesLegacy(family) => {
            chains(rules, if family == Family::V4 { "iptables-legacy" } else { "ip6tables-legacy" })
        }
        Rules::Ipvs => {
            let count = ipvs::remove().map_err(|source| RemoveError::Table(rules, source))?;
            Ok(format!("removed {count} virtual services and the device of {rules}"))
        }
    }
}

fn chains(rules: Rules, program: &str) -> Result<String, RemoveError> {
    let (save, restore) = (format!("{program}-save"), format!("{program}-restore"));
    let text = run(rules, &save, &[], "")?;
    let (input, count) = deletion(&text);
    run(rules, &restore, &["--noflush"], &input)?;
    Ok(format!("removed {count} chains of {rules}"))
}

/// What removes kube-proxy's chains, for the restoring program, and how many they are. In each table the chains are emptied
/// first, then the jumps to them go, then they: all in one step, or none of it.
fn deletion(saved: &str) -> (String, usize) {
    let (mut input, mut count) = (String::new(), 0);
    for table in saved.split_inclusive("COMMIT\n") {
        let Some(name) = table.lines().find(|line| line.starts_with('*')) else { continue };
        let chains: Vec<_> = table.lines().filter_map(declared).filter(|chain| is_own(chain)).collect();
        if chains.is_empty() {
            continue;
        }
        let jumps = table.lines().filter_map(|line| jump(line, &chains));
        input.push_str(name);
        input.push('\n');
        input.extend(chains.iter().map(|chain| format!(":{chain} - [0:0]\n")));
        input.extend(jumps.map(|rule| format!("-D {rule}\n")));
        input.extend(chains.iter().map(|chain| format!("-X {chain}\n")));
        input.push_str("COMMIT\n");
        count += chains.len();
    }
    (input, count)
}

/// The chain that a line such as `:KUBE-SERVICES - [0:0]` declares.
fn declared(line: &str) -> Option<&str> {
    line.strip_prefix(':')?.split(' ').next()
}

fn is_own(chain: &str) -> bool {
    CHAINS.contains(&chain) || PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

/// The rule of a line such as `-A PREROUTING -j KUBE-SERVICES`, if it leads from another chain to one of these.
fn jump<'a>(line: &'a str, chains: &[&str]) -> Option<&'a str> {
    let rule = line.strip_prefix("-A ")?;
    let from = rule.split(' ').next()?;
    let to = rule.split(" -j ").nth(1)?.split(' ').next()?;
    (chains.contains(&to) && !chains.contains(&from)).then_some(rule)
}

fn run(rules: Rules, program: &str, arguments: &[&str], input: &str) -> Result<String, RemoveError> {
    let failed = |source| RemoveError::Program { program: program.to_owned(), rules, source };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // It is dropped, and so closed, before the program is waited for. What it thinks of the text, its status tells.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(RemoveError::Failed { program: program.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "\
# Generated
*filter
:INPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -j MINE
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-ABC
-A KUBE-SVC-ABC -j KUBE-MARK-MASQ
COMMIT
";

    #[test]
    fn own_chains_and_the_jumps_to_them_go_and_nothing_else() {
        let (input, count) = deletion(SAVED);
        let expected = "\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-X KUBE-SERVICES
-X KUBE-SVC-ABC
COMMIT
";
        assert_eq!((input.as_str(), count), (expected, 2));
        assert_eq!(deletion(""), (String::new(), 0));
    }
}
