//! `snapshot …` in a program that was built without the feature `live`.

use super::Exit;
use super::args::flags::WriteOut;
use super::write_out::Told;
use clap::Args as Flags;
use serde_json::json;
use std::ffi::OsString;

/// Whatever was asked for.
#[derive(Debug, Flags)]
pub struct Words {
    /// How to print what is missing
    #[arg(short = 'w', long, hide = true)]
    pub write_out: Option<String>,
    /// `save`, `compare`, `rehearse`, and what belongs to them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// Says what is missing, and how to get it.
pub fn run(args: &Words) -> Exit {
    let json = args.write_out.as_deref() == Some("json") || super::usage::asks_for_json(&args.words);
    let how = if json { WriteOut::Json } else { WriteOut::Simple };
    let told = Told {
        kind: "feature",
        message: "this program was built without the feature `live`, and `snapshot save`, `compare` and `rehearse` need it",
        remedy: "build it with `cargo build --release --features live`, for which protoc has to be there (Debian: protobuf-compiler)",
        exit: Exit::Usage,
    };
    told.tell(how, json!({}), "")
}
