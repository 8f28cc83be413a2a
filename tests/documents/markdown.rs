//! The documents: their headings, their console blocks, their links.

use std::path::{Path, PathBuf};

/// A fenced block of commands.
pub struct Block {
    /// The heading it stands under.
    pub heading: String,
    pub line: usize,
    pub mark: Mark,
    pub commands: Vec<Command>,
}

/// What a comment before a block says of it.
#[derive(Debug, PartialEq)]
pub enum Mark {
    /// `<!-- run -->`
    Run,
    /// `<!-- not run: REASON -->`
    NotRun(String),
    Missing,
}

/// A command, and the lines a document shows below it.
pub struct Command {
    pub line: usize,
    pub text: String,
    pub shown: Vec<String>,
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the repository, as paths from its root.
pub fn all() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/runbooks", "docs/kubernetes", "fixtures", "fuzz", "tests/oracle"] {
        let Ok(entries) = std::fs::read_dir(root().join(folder)) else { continue };
        let paths = entries.map(|entry| entry.unwrap().path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = found.iter().map(relative).collect();
    names.sort();
    names
}

pub fn read(document: &str) -> String {
    std::fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The console blocks of a document.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut heading, mut before) = (String::new(), "");
    let mut lines = (1..).zip(text.lines());
    while let Some((line, content)) = lines.next() {
        if let Some(language) = content.strip_prefix("```") {
            let inside: Vec<_> = lines.by_ref().take_while(|(_, content)| *content != "```").collect();
            if language == "console" {
                let commands = commands(&inside);
                blocks.push(Block { heading: heading.clone(), line, mark: mark(before), commands });
            }
        } else if content.starts_with('#') {
            content.trim_start_matches('#').trim().clone_into(&mut heading);
        }
        if !content.trim().is_empty() {
            before = content;
        }
    }
    blocks
}

fn mark(before: &str) -> Mark {
    let comment = before.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    match comment.map(|comment| comment.split_once(": ").unwrap_or((comment, ""))) {
        Some(("run", "")) => Mark::Run,
        Some(("not run", reason)) if !reason.is_empty() => Mark::NotRun(reason.to_owned()),
        _ => Mark::Missing,
    }
}

/// A command begins with `$ ` and goes on where a line ends with a backslash.
fn commands(lines: &[(usize, &str)]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for (line, content) in lines {
        if goes_on {
            let text = &mut commands.last_mut().unwrap().text;
            text.push('\n');
            text.push_str(content);
        } else if let Some(text) = content.strip_prefix("$ ") {
            commands.push(Command { line: *line, text: text.to_owned(), shown: Vec::new() });
        } else {
            let command = commands.last_mut().unwrap_or_else(|| panic!("line {line} is below no command"));
            command.shown.push((*content).to_owned());
            continue;
        }
        goes_on = content.ends_with('\\');
    }
    commands
}

/// Where the links of a document lead.
pub fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (line, content) in (1..).zip(text.lines()) {
        fenced ^= content.starts_with("```");
        if fenced {
            continue;
        }
        // Every second piece is code.
        let prose: String = content.split('`').step_by(2).collect();
        for rest in prose.split("](").skip(1) {
            let target = rest.split_once(')').map_or(rest, |(target, _)| target);
            found.push((line, target.to_owned()));
        }
    }
    found
}

/// What GitHub makes of the headings of a document, for links to them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for content in text.lines() {
        fenced ^= content.starts_with("```");
        if !fenced && content.starts_with('#') {
            let heading = content.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

/// What is wrong with a link of a document, if anything.
pub fn broken(document: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = root().join(document);
    let file = if path.is_empty() { here } else { here.parent().unwrap_or(Path::new("")).join(path) };
    if !file.exists() {
        return Some(format!("{document}: there is no {target}"));
    }
    if anchor.is_empty() || anchors(&std::fs::read_to_string(&file).unwrap()).iter().any(|a| a == anchor) {
        return None;
    }
    Some(format!("{document}: no heading of {path} makes {anchor}"))
}
