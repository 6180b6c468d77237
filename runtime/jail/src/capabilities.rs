//! Capabilities: the parts of root's power.
//!
//! An agent that runs as root could otherwise load a kernel module or write to a raw disk, and so
//! reach everything that Landlock keeps from it.
//!
//! Invariant: after [`drop_all`] this process holds no capability, and no program that it executes
//! gets one.

use rustix::io::{self, Errno};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

/// Empties every capability set. The bounding set stays as it is for an ordinary user, to whom it
/// gives nothing once no new privileges can be gained.
///
/// # Errors
/// The kernel's error.
pub(crate) fn drop_all() -> io::Result<()> {
    // The bounding set goes first: emptying it needs a capability that is gone afterwards.
    if capabilities(None)?
        .effective
        .contains(CapabilitySet::SETPCAP)
    {
        empty_bounding_set()?;
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

/// Tells whether this process holds no capability.
///
/// # Errors
/// The kernel's error.
pub(crate) fn none_left() -> io::Result<bool> {
    let held = capabilities(None)?;
    Ok((held.effective | held.permitted | held.inheritable).is_empty())
}

fn empty_bounding_set() -> io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)?,
            Ok(false) => (),
            // The kernel knows no capability of this number.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
