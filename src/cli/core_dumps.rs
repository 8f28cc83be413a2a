//! No core dumps: they would hold keys and plaintext.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Has the system write none of this process from here on, and lets no other
/// process of the same user read its memory. Where that is refused, the rest of
/// the program is no worse for it.
pub fn switch_off() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
