//! Whether a rewritten record is right, told from input and output alone.

use super::bootstrap;
use super::cluster::passphrase;
use super::record::Record;
use super::stage::State;
use super::token::Token;
use zeroize::Zeroizing;

/// What a rewritten record must hold.
pub struct Proof {
    /// The tokens that open it.
    pub tokens: Vec<Token>,
    /// The configuration's bytes.
    pub config: Zeroizing<Vec<u8>>,
    /// The state.
    pub state: State,
    /// Whether every revision must hold it, or the current one alone.
    pub all: bool,
}

/// What became of one revision of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it must be.
    Right,
    /// No token opens it, or it is damaged, and it is unchanged.
    CarriedOver,
    /// It is not; why.
    Wrong(&'static str),
}

impl Proof {
    /// Compares a revision of the record in the input with the output's.
    #[must_use]
    pub fn check(&self, etcd_key: &[u8], current: bool, ours: &[u8], theirs: &[u8]) -> Outcome {
        let same = ours == theirs;
        let same_or = |why| if same { Outcome::Right } else { Outcome::Wrong(why) };
        if ours.is_empty() {
            return same_or("an empty record was filled in");
        }
        let Some(passphrase) = passphrase(&self.tokens, etcd_key) else {
            return if same {
                Outcome::CarriedOver
            } else {
                Outcome::Wrong("it changed, and cannot be opened")
            };
        };
        if !(self.all || current) {
            return same_or("an old revision of the record changed without need");
        }
        let before = bootstrap::open(ours, passphrase);
        let Some(before) = before.as_ref().and_then(|plain| Record::parse(plain)) else {
            // The current one was opened before anything was done.
            return if same && !current {
                Outcome::CarriedOver
            } else {
                Outcome::Wrong("the token does not open the record of the input")
            };
        };
        if same {
            return Outcome::Wrong("the record is the old one");
        }
        let after = bootstrap::open(theirs, passphrase);
        let Some(after) = after.as_ref().and_then(|plain| Record::parse(plain)) else {
            return Outcome::Wrong("the token does not open the record, or it is none");
        };
        if !after.same_but_encryption(&before) {
            return Outcome::Wrong("the record's other files changed");
        }
        if after.config().as_ref() != Some(&self.config) {
            return Outcome::Wrong("the record holds another configuration");
        }
        if after.state().as_ref() != Some(&self.state) {
            return Outcome::Wrong("the record holds another state");
        }
        // Salt and nonce stand at the beginning.
        if ours.get(..33) == theirs.get(..33) {
            return Outcome::Wrong("the record is sealed with the salt and nonce it had");
        }
        Outcome::Right
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;
    use super::*;

    #[test]
    fn only_the_right_record_passes() {
        let token = Token::parse("pw").unwrap_or_else(|e| panic!("{e}"));
        let (config, now) = (b"config".as_slice(), jiff::Timestamp::now());
        let state = State::of(Stage::ReencryptFinished, config);
        let plain = b"{\"A\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"YQ==\"}}\n".as_slice();
        let record = Record::parse(plain).unwrap();
        let key = token.record_key();
        let proof = |all| Proof {
            tokens: vec![token.clone()],
            config: Zeroizing::new(config.to_vec()),
            state: state.clone(),
            all,
        };
        let seal_with = |plain: &[u8], salt| bootstrap::seal_with(plain, "pw", salt, [7; 12]).unwrap();
        let seal = |plain: &[u8]| bootstrap::seal(plain, "pw").unwrap();
        let ours = seal(plain);
        let right = seal(&record.with(config, &state, now));
        assert_eq!(proof(true).check(&key, false, &ours, &right), Outcome::Right);
        assert_eq!(proof(true).check(b"/bootstrap/0", false, &ours, &ours), Outcome::CarriedOver);
        assert_eq!(proof(false).check(&key, false, &ours, &ours), Outcome::Right);
        assert_eq!(proof(true).check(&key, false, b"damaged", b"damaged"), Outcome::CarriedOver);
        assert!(matches!(proof(true).check(&key, true, b"damaged", b"damaged"), Outcome::Wrong(_)));
        assert!(matches!(proof(true).check(&key, false, b"damaged", &right), Outcome::Wrong(_)));
        let other = State::of(Stage::Rotate, config);
        for wrong in [
            ours.clone(),
            seal(plain),
            seal(&record.with(b"other", &state, now)),
            seal(&record.with(config, &other, now)),
            seal(&Record::parse(b"{}").unwrap().with(config, &state, now)),
            bootstrap::seal(&record.with(config, &state, now), "other").unwrap(),
            Vec::new(),
        ] {
            assert!(matches!(proof(true).check(&key, true, &ours, &wrong), Outcome::Wrong(_)));
        }
        assert!(matches!(proof(false).check(&key, false, &ours, &right), Outcome::Wrong(_)));
        // A salt and a nonce serve once, whatever else is right.
        let (salt, other_salt) = ("0123456789abcdef", "0123456789abcdee");
        let before = seal_with(plain, salt);
        let after = record.with(config, &state, now);
        let again = "the record is sealed with the salt and nonce it had";
        assert_eq!(proof(true).check(&key, true, &before, &seal_with(&after, salt)), Outcome::Wrong(again));
        assert_eq!(proof(true).check(&key, true, &before, &seal_with(&after, other_salt)), Outcome::Right);
        // An empty one stays so, and what no token opens stays what it is.
        assert_eq!(proof(true).check(&key, true, b"", b""), Outcome::Right);
        assert!(matches!(proof(true).check(&key, true, b"", &right), Outcome::Wrong(_)));
        assert!(matches!(proof(true).check(b"/bootstrap/0", false, &ours, &right), Outcome::Wrong(_)));
    }
}
