//! The system calls that exist inside the sandbox.
//!
//! Invariant: what `syscalls.toml` does not list answers "no such call", and a call by another
//! numbering (x32, 32-bit) ends the program.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::seccomp::{architecture, equals, foreign_numbers_killed};

include!(concat!(env!("OUT_DIR"), "/syscalls.rs"));

/// Leaves only the listed calls to this process and all that it executes. No new privileges has been
/// set before.
///
/// # Errors
/// When the kernel has no system-call filter, or this processor is not known here.
pub(crate) fn enforce() -> Result<(), Error> {
    seccompiler::apply_filter(&program()?)
}

/// Returns the list as engines of containers read it. What is allowed for some arguments alone is allowed
/// there: inside, this program's own filter judges it.
pub(crate) fn engine_profile() -> serde_json::Value {
    serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "syscalls": [
            { "names": NAMES, "action": "SCMP_ACT_ALLOW" },
            // Older engines do not read the default; without it the C library starts nothing.
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS },
        ],
    })
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
    rules.extend(judged()?);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(ENOSYS),
        SeccompAction::Allow,
        architecture()?,
    )?;
    let compiled: BpfProgram = filter.try_into()?;
    Ok(foreign_numbers_killed()
        .into_iter()
        .chain(compiled)
        .collect())
}

/// Returns the calls that are allowed for some arguments alone.
fn judged() -> Result<[(i64, Vec<SeccompRule>); 5], BackendError> {
    let all = |conditions: &[SeccompCondition]| SeccompRule::new(conditions.to_vec());
    let family = |family: i32| equals(0, value(family));
    Ok([
        (libc::SYS_clone, vec![all(&[no_bits(0, NEW_NAMESPACES)?])?]),
        (
            libc::SYS_socket,
            vec![
                all(&[family(libc::AF_UNIX)?])?,
                all(&[family(libc::AF_INET)?, not(2, IPPROTO_MPTCP)?])?,
                all(&[family(libc::AF_INET6)?, not(2, IPPROTO_MPTCP)?])?,
                all(&[family(libc::AF_NETLINK)?, equals(2, NETLINK_ROUTE)?])?,
            ],
        ),
        (libc::SYS_socketpair, vec![all(&[family(libc::AF_UNIX)?])?]),
        (
            libc::SYS_ioctl,
            vec![all(&[not(1, TIOCSTI)?, not(1, TIOCLINUX)?])?],
        ),
        (
            libc::SYS_personality,
            PERSONALITIES
                .iter()
                .map(|personality| all(&[equals(0, *personality)?]))
                .collect::<Result<_, _>>()?,
        ),
    ])
}

fn not(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn no_bits(argument: u8, bits: u64) -> Result<SeccompCondition, BackendError> {
    let masked = SeccompCmpOp::MaskedEq(bits);
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, masked, 0)
}

fn value(constant: i32) -> u64 {
    constant.unsigned_abs().into()
}

const ENOSYS: u32 = 38;
const IPPROTO_MPTCP: u64 = 262;
const NETLINK_ROUTE: u64 = 0;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541C;

/// `CLONE_NEWTIME`, `NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`. The first
/// shares its bit with the signal number, which no program sets as high.
const NEW_NAMESPACES: u64 = 0x7E02_0080;

/// Linux, Linux without address randomisation, and only asking.
const PERSONALITIES: &[u64] = &[0, 0x0004_0000, 0xFFFF_FFFF];

#[cfg(test)]
mod tests {
    use super::{ALLOWED, JUDGED, judged, program};

    #[test]
    fn the_filter_fits_the_kernels_bound() {
        let length = program().unwrap().len();
        assert!(length > 200 && length < 4096, "{length}");
    }

    #[test]
    fn no_call_is_both_allowed_and_judged_or_listed_for_what_it_must_not_do() {
        let judged: Vec<i64> = judged()
            .unwrap()
            .iter()
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(judged.len(), JUDGED.len());
        let never = [
            libc::SYS_clone3,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_pivot_root,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_bpf,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_perf_event_open,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_open_by_handle_at,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_clock_settime,
            libc::SYS_settimeofday,
            libc::SYS_chroot,
        ];
        for number in judged.iter().chain(&never) {
            assert!(!ALLOWED.contains(number), "{number}");
        }
    }
}
