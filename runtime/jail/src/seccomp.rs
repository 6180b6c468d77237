//! The ways around Landlock's list of TCP ports, closed by system-call filter.
//!
//! Landlock judges `connect` on TCP sockets. A connection can also be made by a protocol that falls
//! back to TCP (MPTCP, SMC), by sending data at once (TCP Fast Open), or by io_uring, whose requests
//! no filter sees (Linux, `Documentation/userspace-api/seccomp_filter.rst`).
//!
//! Invariant: the filter forbids these ways alone; what else a program may ask of the kernel is the
//! sandbox's matter. Calls by another numbering (x32, 32-bit) end the program, for the list below
//! would not fit them.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

/// Forbids the ways around the port list for this process and all that it executes. No new
/// privileges has been set before.
///
/// # Errors
/// When the kernel has no system-call filter, or this processor is not known here.
pub(crate) fn close_detours() -> Result<(), Error> {
    seccompiler::apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(
        rules()?,
        SeccompAction::Allow,
        SeccompAction::Errno(EACCES),
        architecture()?,
    )?;
    let compiled: BpfProgram = filter.try_into()?;
    Ok(foreign_numbers_killed()
        .into_iter()
        .chain(compiled)
        .collect())
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let any = Vec::new;
    Ok(BTreeMap::from([
        (
            number::SOCKET,
            vec![rule(&[equals(2, IPPROTO_MPTCP)?])?, foreign_family()?],
        ),
        (number::SENDTO, vec![rule(&[has_bits(3, MSG_FASTOPEN)?])?]),
        (number::SENDMSG, vec![rule(&[has_bits(2, MSG_FASTOPEN)?])?]),
        (number::SENDMMSG, vec![rule(&[has_bits(3, MSG_FASTOPEN)?])?]),
        (
            number::SETSOCKOPT,
            vec![rule(&[
                equals(1, SOL_TCP)?,
                equals(2, TCP_FASTOPEN_CONNECT)?,
            ])?],
        ),
        (number::IO_URING_SETUP, any()),
    ]))
}

/// Families other than Unix, IPv4, IPv6 and netlink, which common programs need.
fn foreign_family() -> Result<SeccompRule, BackendError> {
    let conditions: Result<Vec<_>, _> = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK]
        .into_iter()
        .map(|family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family))
        .collect();
    SeccompRule::new(conditions?)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.to_vec())
}

pub(crate) fn equals(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn has_bits(argument: u8, bits: u64) -> Result<SeccompCondition, BackendError> {
    let masked = SeccompCmpOp::MaskedEq(bits);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, masked, bits)
}

pub(crate) fn architecture() -> Result<TargetArch, BackendError> {
    TargetArch::try_from(std::env::consts::ARCH)
}

/// Ends a program that calls by the x32 numbering, which shares the processor's name with the
/// ordinary one: load the number; if it is at or above the x32 bit, kill; else go on. On other
/// processors no number comes near that bit.
pub(crate) fn foreign_numbers_killed() -> [sock_filter; 3] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_AT_OR_ABOVE: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    const KILL_PROCESS: u32 = 0x8000_0000;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_AT_OR_ABOVE, 0, 1, X32_BIT),
        instruction(RETURN, 0, 0, KILL_PROCESS),
    ]
}

const EACCES: u32 = 13;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const IPPROTO_MPTCP: u64 = 262;
const MSG_FASTOPEN: u64 = 0x2000_0000;
const SOL_TCP: u64 = 6;
const TCP_FASTOPEN_CONNECT: u64 = 30;

/// Numbers of `arch/x86/entry/syscalls/syscall_64.tbl`.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const SOCKET: i64 = 41;
    pub(super) const SENDTO: i64 = 44;
    pub(super) const SENDMSG: i64 = 46;
    pub(super) const SETSOCKOPT: i64 = 54;
    pub(super) const SENDMMSG: i64 = 307;
    pub(super) const IO_URING_SETUP: i64 = 425;
}

/// Numbers of `include/uapi/asm-generic/unistd.h`.
#[cfg(not(target_arch = "x86_64"))]
mod number {
    pub(super) const SOCKET: i64 = 198;
    pub(super) const SENDTO: i64 = 206;
    pub(super) const SENDMSG: i64 = 211;
    pub(super) const SETSOCKOPT: i64 = 208;
    pub(super) const SENDMMSG: i64 = 269;
    pub(super) const IO_URING_SETUP: i64 = 425;
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn the_filter_fits_this_processor() {
        assert!(program().is_ok_and(|program| program.len() > 3));
    }
}
