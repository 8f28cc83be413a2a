//! Promise: a program built without the feature `live` says which feature is
//! missing, and how to get it.
#![cfg(not(feature = "live"))]

mod support;

use support::program::run;

#[test]
fn what_is_missing_and_how_to_get_it_is_told() {
    for words in [
        &["save", "out.db", "--endpoints", "https://a:2379"][..],
        &["compare", "x", "--k3s"],
        &["rehearse"],
        &[],
    ] {
        let told = run(&[&["snapshot"], words].concat()).expect(2);
        assert!(
            told.err.contains("the feature `live`") && told.err.contains("--features live"),
            "{}",
            told.err
        );
        assert!(told.err.contains("protobuf-compiler"), "{}", told.err);
        let object = run(&[&["snapshot"], words, &["-w", "json"]].concat()).expect(2).json();
        assert_eq!((&object["error"]["kind"], &object["error"]["exitCode"]), (&"feature".into(), &2.into()));
    }
}
