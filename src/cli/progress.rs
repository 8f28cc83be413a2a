//! Progress on standard error: a bar, lines, or JSON events.

use super::args::flags::{Messages, ProgressMode, Running};
use crate::rekey::{Phase, Progress};
use indicatif::{HumanFloatCount, ProgressBar, ProgressState, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shows the progress of a run.
pub struct Shown {
    mode: ProgressMode,
    verbose: bool,
    every: u64,
    unit: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Option<(Phase, Instant)>,
    total: u64,
    done: u64,
    told: u64,
    bar: Option<ProgressBar>,
}

impl Shown {
    /// The same, for what is no rewrite: a phase that counts has a unit of its own.
    #[cfg(feature = "live")]
    #[must_use]
    pub fn counting(progress: ProgressMode, messages: Messages) -> Self {
        Self::new(&Running { progress, progress_every: 1, threads: 0 }, messages, "keys")
    }

    /// As the flags say; `unit` is what is counted.
    #[must_use]
    pub fn new(running: &Running, messages: Messages, unit: &'static str) -> Self {
        let mode = match running.progress {
            ProgressMode::Auto if messages.quiet => ProgressMode::None,
            ProgressMode::Auto if can_draw() => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::Plain,
            mode => mode,
        };
        let every = running.progress_every.max(1);
        Self { mode, verbose: messages.verbose, every, unit, state: Mutex::default() }
    }

    fn tell(&self, state: &State, count: u64) {
        let line = match self.mode {
            ProgressMode::Plain => format!("reencrypted {count} {}", self.unit),
            ProgressMode::Json => format!(
                r#"{{"event":"progress","reencrypted":{count},"total":{},"unit":"{}"}}"#,
                state.total, self.unit
            ),
            _ => return,
        };
        line_out(&line);
    }

    /// Tells every multiple that was passed, so that no step is missing.
    fn catch_up(&self, state: &mut State) {
        while state.done - state.told >= self.every {
            state.told += self.every;
            self.tell(state, state.told);
        }
    }

    /// Tells where a phase that counts has come to: `told` is what the last
    /// line said.
    fn tell_counted(&self, state: &mut State, phase: Phase) {
        let Some((did, unit, size)) = counted(phase) else { return };
        state.told = state.done;
        let (count, total) = (state.done / size, state.total / size);
        match self.mode {
            ProgressMode::Plain => line_out(&format!("{did} {count} of {total} {unit}")),
            ProgressMode::Json => line_out(&format!(
                r#"{{"event":"progress","{did}":{},"total":{},"unit":"{}"}}"#,
                state.done,
                state.total,
                if size == 1 { unit } else { "bytes" }
            )),
            _ => {}
        }
    }

    fn finish(&self, state: &mut State) {
        let Some((phase, began)) = state.phase.take() else { return };
        if let Some((_, _, size)) = counted(phase)
            && (state.told == 0 || state.told / size < state.done / size)
        {
            self.tell_counted(state, phase);
        }
        if phase == Phase::Reencrypting {
            self.catch_up(state);
            if state.told < state.done {
                state.told = state.done;
                self.tell(state, state.done);
            }
        }
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        if self.verbose && self.mode != ProgressMode::Json {
            line_out(&format!("{}: {:.2} s", phase.name(), began.elapsed().as_secs_f64()));
        }
    }

    fn bar(&self, phase: Phase, total: u64) -> ProgressBar {
        let Some(figures) = self.figures(phase) else {
            let bar = ProgressBar::new_spinner();
            bar.set_style(style("{msg} {spinner} {elapsed}").tick_strings(&["|", "/", "-", "\\", " "]));
            bar.set_message(phase.name());
            bar.enable_steady_tick(Duration::from_millis(100));
            return bar;
        };
        let bar = ProgressBar::new(total);
        // The bar takes what room the figures leave; where they leave none, a part of a hundred does.
        let template = if columns() < NARROW {
            "{msg} {percent}% ETA {eta}".to_owned()
        } else {
            format!("{{msg}} [{{wide_bar}}] {figures} ETA {{eta}}")
        };
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}", HumanFloatCount(state.per_sec().round()));
        };
        bar.set_style(style(&template).progress_chars("=> ").with_key("rate", rate));
        bar.set_message(phase.name());
        bar
    }

    /// The figures beside a bar, of a phase that has one.
    fn figures(&self, phase: Phase) -> Option<String> {
        Some(match phase {
            Phase::Reencrypting => format!("{{human_pos}}/{{human_len}} {} {{rate}}/s", self.unit),
            Phase::Receiving => "{binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}".to_owned(),
            Phase::Comparing => "{human_pos}/{human_len} keys {rate}/s".to_owned(),
            _ => return None,
        })
    }
}

/// Below so many columns there is no room for a bar beside its figures.
const NARROW: u16 = 72;

/// How wide the terminal is; what does not tell counts as 80.
fn columns() -> u16 {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => 80,
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether standard error is a terminal on which a line can be drawn anew.
fn can_draw() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// What a phase that counts did, of what, and how many make one that is told.
fn counted(phase: Phase) -> Option<(&'static str, &'static str, u64)> {
    match phase {
        Phase::Receiving => Some(("received", "MiB", 1 << 20)),
        Phase::Comparing => Some(("compared", "keys", 1)),
        _ => None,
    }
}

/// Writes a line; a standard error that is gone is no reason to stop.
fn line_out(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Progress for Shown {
    fn phase(&self, phase: Phase, total: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.finish(&mut state);
        *state = State { phase: Some((phase, Instant::now())), total, ..State::default() };
        match self.mode {
            ProgressMode::Json => {
                line_out(&format!(r#"{{"event":"phase","phase":"{}","total":{total}}}"#, phase.name()));
            }
            ProgressMode::Bar => state.bar = Some(self.bar(phase, total)),
            _ => {}
        }
    }

    fn rewritten(&self, values: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += values;
        match &state.bar {
            Some(bar) => bar.set_position(state.done),
            None => self.catch_up(&mut state),
        }
    }

    fn counted(&self, units: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += units;
        match &state.bar {
            Some(bar) => bar.set_position(state.done),
            // A twentieth at a time, and what can be told apart.
            None => {
                let Some((phase, _)) = state.phase else { return };
                let size = counted(phase).map_or(1, |(_, _, size)| size);
                if state.done - state.told >= (state.total / 20).max(size) {
                    self.tell_counted(&mut state, phase);
                }
            }
        }
    }

    fn stop(&self) -> bool {
        super::signals::received().is_some()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        // The last phase of a run that went well ends here.
        if !self.stop() {
            self.finish(&mut state);
        }
    }
}
