//! What the front may still ask of the kernel once it has all that it needs: to read and write what is open, to open sockets of
//! TCP and UDP, memory, threads and time. It opens no file, starts no program and no process, and reaches no other one.
//!
//! A filter of system calls (seccomp(2), `SECCOMP_SET_MODE_FILTER`): what is not listed fails with EPERM, and clone3 with
//! ENOSYS, so that the C library goes back to clone, whose flags a filter can see.

use std::collections::BTreeMap;

use libc::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getpid, setrlimit};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// There is none for this processor.
    #[error("it cannot be made for this processor")]
    Made(#[from] BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take it")]
    Refused(#[from] seccompiler::Error),
}

/// Nothing that this process could execute may raise its privileges again, no other process of the user `nobody` may look
/// into it, and what was in its memory is written nowhere.
pub(super) fn give_up() -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Puts the filter in force, for all threads there are and will be. There is no way back.
pub(super) fn filter() -> Result<(), ConfineError> {
    let nothing = SeccompAction::Errno(libc::ENOSYS as u32);
    let [clone3, allowed] = [
        program([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, nothing)?,
        program(allowed()?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?,
    ];
    // Of two filters the one that says no counts (seccomp(2)).
    apply_filter_all_threads(&clone3)?;
    Ok(apply_filter_all_threads(&allowed)?)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, BackendError> {
    let processor: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, others, these, processor)?.try_into()
}

fn allowed() -> Result<Rules, BackendError> {
    let mut rules: Rules = ALWAYS.iter().chain(OLD).map(|call| (*call, Vec::new())).collect();
    let sockets = [AF_INET, AF_INET6].into_iter().flat_map(|family| {
        [(SOCK_STREAM, 0), (SOCK_STREAM, IPPROTO_TCP), (SOCK_DGRAM, 0), (SOCK_DGRAM, IPPROTO_UDP)]
            .map(|(kind, protocol)| [(0, Eq, family), (1, MaskedEq(0xf), kind), (2, Eq, protocol)])
    });
    rules.insert(libc::SYS_socket, sockets.map(|socket| rule(&socket)).collect::<Result<_, _>>()?);
    // New namespaces would need a process of their own, or rights.
    let spaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWPID;
    let thread = MaskedEq((libc::CLONE_THREAD | spaces) as u64);
    // The other filter says no, with another error than this one would.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_clone, vec![rule(&[(0, thread, libc::CLONE_THREAD)])?]);
    // A panic that cannot unwind ends the process by a signal to itself.
    rules.insert(libc::SYS_tgkill, vec![rule(&[(0, Eq, getpid().as_raw_nonzero().get())])?]);
    rules.insert(libc::SYS_prctl, vec![rule(&[(0, Eq, libc::PR_SET_NAME)])?]);
    // Whether a socket waits, and what its other side has not taken yet (tcp(7), SIOCOUTQ).
    let wishes = [libc::FIONBIO as i32, libc::TIOCOUTQ as i32].map(|wish| rule(&[(1, Eq, wish)]));
    rules.insert(libc::SYS_ioctl, wishes.into_iter().collect::<Result<_, _>>()?);
    // No memory becomes code.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(&[(2, MaskedEq(libc::PROT_EXEC as u64), 0)])?]);
    }
    // The C library asks how large stacks are.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[(0, Eq, 0), (2, Eq, 0)])?]);
    Ok(rules)
}

/// Arguments by number, each of which is as it should be.
fn rule(arguments: &[(u8, SeccompCmpOp, i32)]) -> Result<SeccompRule, BackendError> {
    let condition = |(number, how, value): &(u8, SeccompCmpOp, i32)| {
        // The second half of an `int` may hold anything; only pointers are looked at as a whole.
        let length =
            if *number == 2 && *value == 0 && *how == Eq { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
        SeccompCondition::new(*number, length, how.clone(), *value as u64)
    };
    SeccompRule::new(arguments.iter().map(condition).collect::<Result<_, _>>()?)
}

/// Whatever their arguments.
const ALWAYS: &[i64] = &[
    // What is open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_dup,
    // Sockets.
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    // Threads.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_gettid,
    // Spans tell the name of the node.
    libc::SYS_uname,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Older forms that only some processors have.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];
