//! A document, walked through as its reader would: the commands of its marked
//! blocks, typed one after another into one shell, in a folder the documents
//! call /backup.

use crate::markdown::{Block, Command, Mark, blocks, read};
use crate::shell::Shell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What documents call the folder a walk happens in.
const HOME: &str = "/backup";

pub struct Walk {
    document: String,
    blocks: Vec<(Block, bool)>,
    shell: Shell,
    home: TempDir,
    /// What the document has in the place of what is there.
    stands: Vec<(&'static str, String)>,
}

impl Walk {
    pub fn of(document: &str) -> Self {
        let blocks = blocks(&read(document)).into_iter().map(|block| (block, false)).collect();
        let home = tempfile::tempdir().unwrap();
        Self {
            document: document.to_owned(),
            blocks,
            shell: Shell::start(home.path()),
            home,
            stands: Vec::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts a copy of a file where the document expects it.
    pub fn given(self, name: &str, from: &Path) -> Self {
        let to = self.path(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
        self
    }

    /// Says what something in the document stands for. Columns may be wider or
    /// narrower then.
    pub fn standing(mut self, shown: &'static str, real: &str) -> Self {
        self.stands.retain(|(known, _)| *known != shown);
        self.stands.push((shown, real.to_owned()));
        self
    }

    /// Does what the reader is asked to do in words.
    pub fn does(&mut self, command: &str) -> Vec<String> {
        let (printed, code) = self.shell.run(command);
        assert_eq!(code, 0, "{command}: {}", printed.join("\n"));
        printed
    }

    /// Runs the marked blocks under a heading.
    pub fn under(&mut self, heading: &str) {
        let mut any = false;
        for (block, done) in &mut self.blocks {
            if block.heading == heading && block.mark == Mark::Run {
                run(&self.document, &mut self.shell, self.home.path(), &self.stands, block);
                (*done, any) = (true, true);
            }
        }
        assert!(any, "{} has nothing to run under {heading:?}", self.document);
    }

    /// Runs every marked block that was not run yet.
    pub fn finish(&mut self) {
        for (block, done) in &mut self.blocks {
            if block.mark == Mark::Run && !*done {
                run(&self.document, &mut self.shell, self.home.path(), &self.stands, block);
                *done = true;
            }
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = self.blocks.iter().filter(|(block, done)| block.mark == Mark::Run && !done).count();
            assert_eq!(left, 0, "{}: blocks that were never run", self.document);
        }
    }
}

fn run(document: &str, shell: &mut Shell, home: &Path, stands: &[(&str, String)], block: &Block) {
    let home = home.to_str().unwrap();
    let real = |text: &str| {
        stands.iter().fold(text.replace(HOME, home), |text, (shown, real)| text.replace(shown, real))
    };
    let told = |line: &String| {
        stands.iter().fold(line.replace(home, HOME), |line, (shown, real)| line.replace(real, shown))
    };
    let masked = |line: &String| {
        let masked = masked(line);
        if stands.is_empty() { masked } else { masked.split_whitespace().collect::<Vec<_>>().join(" ") }
    };
    for (number, command) in block.commands.iter().enumerate() {
        let (printed, code) = shell.run(&real(&command.text));
        let printed: Vec<String> = printed.iter().map(told).collect();
        // Who goes on to look at the exit code expects one.
        let asked = block.commands.get(number + 1).is_some_and(|next| next.text == "echo $?");
        let Command { line, text, shown } = command;
        let all = printed.join("\n");
        assert!(code == 0 || asked, "{document}:{line}: {text}\nended with {code}:\n{all}");
        let shown_lines: Vec<String> = shown.iter().map(masked).collect();
        let printed_lines: Vec<String> = printed.iter().map(masked).collect();
        assert!(
            shown.is_empty() || fits(&shown_lines, &printed_lines),
            "{document}:{line}: {text}\nprinted:\n{all}\nand not:\n{}",
            shown.join("\n")
        );
    }
}

/// Whether lines are those of a pattern, in which `…` stands for anything, and
/// alone on a line for any lines.
fn fits(pattern: &[String], lines: &[String]) -> bool {
    match (pattern.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..]))
        }
        (Some((first, rest)), Some((line, others))) => line_fits(first, line) && fits(rest, others),
        _ => false,
    }
}

fn line_fits(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        open = piece.is_empty();
    }
    open || rest.is_empty()
}

/// A line without what differs from run to run: times, sums, random names. Columns
/// stay as wide as they are.
fn masked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        if is_time(rest) {
            out += "#";
            rest = &rest["2026-11-25T16:37:17Z".len()..];
            continue;
        }
        let run = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if run == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(run);
        let hex = name.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        let number = name.chars().any(|c| c.is_ascii_digit());
        // A sum may be short, or without a digit.
        let sum = ["status hash ", "HashKV "].iter().any(|before| out.ends_with(before));
        out += if hex && (sum || number && run >= 6) { "#" } else { name };
        rest = after;
    }
    out
}

/// Whether a text begins with a time, as keys of K3s have it.
fn is_time(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:ddZ";
    text.len() >= pattern.len()
        && pattern.chars().zip(text.chars()).all(|(p, c)| if p == 'd' { c.is_ascii_digit() } else { p == c })
}
