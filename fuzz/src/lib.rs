//! What each fuzz target promises of any bytes: one function a target, which
//! panics where the promise is broken. `cargo test --test fuzz_corpora` holds
//! them to the corpora and to the fixtures.

pub mod bootstrap;
pub mod configuration;
pub mod object;
#[allow(clippy::duplicate_mod, reason = "the tests have it as well")]
#[path = "../../tests/support/opener.rs"]
mod opener;
pub mod page;
pub mod record;
pub mod sealed;
pub mod structure;
pub mod sums;
pub mod token;
pub mod tree;
pub mod whole;
pub mod zip;

/// A target: its name, and what is held to any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("page", page::check),
    ("structure", structure::check),
    ("tree", tree::check),
    ("record", record::check),
    ("object", object::check),
    ("sealed", sealed::check),
    ("configuration", configuration::check),
    ("token", token::check),
    ("bootstrap", bootstrap::check),
    ("sums", sums::check),
    ("zip", zip::check),
    ("whole", whole::check),
];

/// Parts an input: its last byte, and what stands before it.
#[must_use]
pub fn choice(input: &[u8]) -> (u8, &[u8]) {
    input.split_last().map_or((0, input), |(last, rest)| (*last, rest))
}

/// Parts an input in two, by the length of the second part in its last two bytes.
fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((rest, length)) = input.split_last_chunk::<2>() else { return (input, b"") };
    rest.split_at(rest.len() - rest.len().min(usize::from(u16::from_le_bytes(*length))))
}

/// The input of two parts that [`halves`] takes apart.
#[must_use]
pub fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let length = u16::try_from(second.len()).unwrap_or(u16::MAX);
    [first, second, &length.to_le_bytes()].concat()
}
