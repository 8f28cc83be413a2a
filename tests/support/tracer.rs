//! The program under a tracer, which sees each call it makes to the system on
//! the files of a folder, and may answer in the system's place.
//!
//! It knows the registers of x86-64 alone.

#![allow(dead_code, reason = "each test file uses its own part")]

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// One call on one of the folder's files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    pub name: &'static str,
    /// The file's name in the folder, `.` of the folder itself; the random
    /// part of a temporary name as `*`.
    pub target: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.target)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The system does it.
    Pass,
    /// It fails with this error, and nothing is done.
    Fail(Errno),
    /// It is done for the first half of the bytes.
    Short,
}

/// How a traced run ended.
#[derive(Debug)]
pub struct Traced {
    pub code: i32,
    pub out: String,
    pub err: String,
    /// The command line the system showed of it at its end.
    pub command_line: Vec<u8>,
    /// Whether it let no other process look into its memory, nor a core be
    /// dumped of it, from before its first call on a file.
    pub undumpable: bool,
}

/// Longer than any run takes: it hangs.
const LONGEST: Duration = Duration::from_secs(60);

enum Where {
    Path(usize),
    Descriptor(usize),
    /// A path, which may be empty, and mean the descriptor before it.
    Either,
    /// A place in memory to which a file is mapped.
    Address(usize),
}

/// The calls on files, and which argument tells of the file.
fn known(number: u64) -> Option<(&'static str, Where)> {
    use Where::{Address, Descriptor, Either, Path};
    Some(match i64::try_from(number).ok()? {
        libc::SYS_open => ("open", Path(0)),
        libc::SYS_openat => ("openat", Path(1)),
        libc::SYS_stat => ("stat", Path(0)),
        libc::SYS_lstat => ("lstat", Path(0)),
        libc::SYS_statx => ("statx", Either),
        libc::SYS_newfstatat => ("newfstatat", Either),
        libc::SYS_access => ("access", Path(0)),
        libc::SYS_statfs => ("statfs", Path(0)),
        libc::SYS_rename => ("rename", Path(1)),
        libc::SYS_renameat => ("renameat", Path(3)),
        libc::SYS_renameat2 => ("renameat2", Path(3)),
        libc::SYS_unlink => ("unlink", Path(0)),
        libc::SYS_unlinkat => ("unlinkat", Path(1)),
        libc::SYS_readlink => ("readlink", Path(0)),
        libc::SYS_mmap => ("mmap", Descriptor(4)),
        libc::SYS_msync => ("msync", Address(0)),
        libc::SYS_read => ("read", Descriptor(0)),
        libc::SYS_pread64 => ("pread64", Descriptor(0)),
        libc::SYS_readv => ("readv", Descriptor(0)),
        libc::SYS_write => ("write", Descriptor(0)),
        libc::SYS_pwrite64 => ("pwrite64", Descriptor(0)),
        libc::SYS_writev => ("writev", Descriptor(0)),
        libc::SYS_lseek => ("lseek", Descriptor(0)),
        libc::SYS_fstat => ("fstat", Descriptor(0)),
        libc::SYS_fstatfs => ("fstatfs", Descriptor(0)),
        libc::SYS_ftruncate => ("ftruncate", Descriptor(0)),
        libc::SYS_fallocate => ("fallocate", Descriptor(0)),
        libc::SYS_fsync => ("fsync", Descriptor(0)),
        libc::SYS_fdatasync => ("fdatasync", Descriptor(0)),
        libc::SYS_sync_file_range => ("sync_file_range", Descriptor(0)),
        libc::SYS_flock => ("flock", Descriptor(0)),
        libc::SYS_fcntl => ("fcntl", Descriptor(0)),
        libc::SYS_getdents64 => ("getdents64", Descriptor(0)),
        libc::SYS_copy_file_range => ("copy_file_range", Descriptor(0)),
        libc::SYS_sendfile => ("sendfile", Descriptor(1)),
        libc::SYS_fadvise64 => ("fadvise64", Descriptor(0)),
        libc::SYS_close => ("close", Descriptor(0)),
        _ => return None,
    })
}

/// The name in the folder, if it lies there.
fn target(folder: &Path, path: &Path) -> Option<String> {
    let rest = path.strip_prefix(folder).ok()?.to_str()?;
    let nameless = rest.ends_with(" (deleted)") && rest.starts_with('#') || rest.starts_with("tmp.");
    Some(match rest {
        "" => ".".to_owned(),
        _ if nameless => "(nameless)".to_owned(),
        rest => {
            let rest = rest.trim_end_matches(" (deleted)");
            match rest.strip_suffix(".tmp").and_then(|rest| rest.rsplit_once('.')) {
                Some((name, random)) if random.len() == 16 => format!("{name}.*.tmp"),
                _ => rest.to_owned(),
            }
        }
    })
}

/// A path in the memory of a traced thread.
fn path_at(pid: Pid, mut address: u64) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < 4096 {
        let pointer = std::ptr::without_provenance_mut(usize::try_from(address).ok()?);
        let word = ptrace::read(pid, pointer).ok()?.to_ne_bytes();
        let end = word.iter().position(|byte| *byte == 0);
        bytes.extend(&word[..end.unwrap_or(word.len())]);
        if end.is_some() {
            break;
        }
        address += 8;
    }
    String::from_utf8(bytes).ok()
}

/// The file that a traced thread has mapped to an address.
fn mapped_at(pid: Pid, address: u64) -> Option<PathBuf> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let map = maps.lines().find(|line| {
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (from, to) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).unwrap_or_default();
        hex(from).is_some_and(|from| from <= address) && hex(to).is_some_and(|to| address < to)
    })?;
    Some(map[map.find('/')?..].into())
}

fn call(pid: Pid, folder: &Path, number: u64, args: [u64; 6]) -> Option<Call> {
    let (name, place) = known(number)?;
    let of_descriptor = |at: usize| {
        // The upper half of the register is no part of a descriptor.
        let descriptor = i32::try_from(args[at] & 0xffff_ffff).ok()?;
        target(folder, &std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?)
    };
    let of_path = |at: usize| {
        let path = path_at(pid, args[at])?;
        target(folder, Path::new(&path)).map(|target| (path.is_empty(), target))
    };
    let target = match place {
        Where::Descriptor(at) => of_descriptor(at)?,
        Where::Path(at) => of_path(at)?.1,
        Where::Address(at) => target(folder, &mapped_at(pid, args[at])?)?,
        Where::Either if args[1] == 0 || path_at(pid, args[1])?.is_empty() => of_descriptor(0)?,
        Where::Either => of_path(1)?.1,
    };
    let opens = name.starts_with("open");
    let name = match i32::try_from(args[if name == "open" { 1 } else { 2 }]) {
        Ok(flags) if opens && flags & libc::O_TMPFILE == libc::O_TMPFILE => "open a nameless file",
        Ok(flags) if opens && flags & libc::O_DIRECTORY != 0 => "list",
        _ => name,
    };
    Some(Call { name, target })
}

/// Runs the program with `args`; asks `answer` about each call on a file in
/// `folder`, in the order they are made.
pub fn traced(args: &[&str], folder: &Path, mut answer: impl FnMut(&Call) -> Answer) -> Traced {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    // It waits for the tracer before it becomes the program.
    #[allow(clippy::zombie_processes, reason = "it is waited for below, as traced ones are")]
    let child = Command::new("sh")
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_etcd-rekey")])
        .args(args)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (ended, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = watched.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout);
        late.then(|| kill(pid, Signal::SIGKILL))
    });
    // What it asked for, and whether it was the first thing that was seen of it.
    let (mut asked, mut undumpable) = (false, None);
    let (code, command_line) = follow(pid, &mut |thread| {
        enter(thread, folder, &mut asked, &mut |call, asked| {
            undumpable.get_or_insert(asked);
            answer(call)
        })
    });
    drop(ended);
    assert!(watchdog.join().unwrap().is_none(), "it hangs: {args:?}");
    let text = |file: &mut std::fs::File| {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    };
    let undumpable = undumpable.unwrap_or(asked);
    Traced { code, out: text(&mut out), err: text(&mut err), command_line, undumpable }
}

fn follow(pid: Pid, enter: &mut impl FnMut(Pid) -> Option<i64>) -> (i32, Vec<u8>) {
    assert_eq!(waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(pid, Signal::SIGSTOP));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    let mut is_program = false;
    let mut command_line = Vec::new();
    // Of threads inside a call: what the call is to return, where that is not the system's business.
    let mut inside: HashMap<Pid, Option<i64>> = HashMap::new();
    loop {
        let status = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
        let (thread, signal) = match status {
            WaitStatus::Exited(ended, code) if ended == pid => return (code, command_line),
            WaitStatus::Signaled(ended, signal, _) if ended == pid => {
                return (128 + signal as i32, command_line);
            }
            WaitStatus::PtraceSyscall(thread) => {
                if let Some(returns) = inside.remove(&thread) {
                    if let Some(value) = returns {
                        let mut registers = ptrace::getregs(thread).unwrap();
                        registers.rax = value.cast_unsigned();
                        ptrace::setregs(thread, registers).unwrap();
                    }
                } else {
                    inside.insert(thread, is_program.then(|| enter(thread)).flatten());
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, _, event) => {
                is_program |= event == libc::PTRACE_EVENT_EXEC;
                if thread == pid && event == libc::PTRACE_EVENT_EXIT {
                    command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                }
                (thread, None)
            }
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            _ => continue,
        };
        // A thread may have been ended by another one.
        match ptrace::syscall(thread, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A thread enters a call; what it is to return, unless the system says.
#[cfg(target_arch = "x86_64")]
fn enter(
    thread: Pid,
    folder: &Path,
    undumpable: &mut bool,
    answer: &mut impl FnMut(&Call, bool) -> Answer,
) -> Option<i64> {
    let mut registers = ptrace::getregs(thread).ok()?;
    let args = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
    let skip = |mut registers: libc::user_regs_struct, returns: i64| {
        registers.orig_rax = u64::MAX;
        ptrace::setregs(thread, registers).unwrap();
        Some(returns)
    };
    let prctl = i64::try_from(registers.orig_rax) == Ok(libc::SYS_prctl);
    if prctl && i32::try_from(registers.rdi) == Ok(libc::PR_SET_DUMPABLE) {
        // What no debugger may look into, only root's could follow.
        *undumpable |= registers.rsi == 0;
        return skip(registers, 0);
    }
    let call = call(thread, folder, registers.orig_rax, args)?;
    match answer(&call, *undumpable) {
        Answer::Pass => None,
        Answer::Fail(error) => skip(registers, -i64::from(error as i32)),
        Answer::Short => {
            if matches!(call.name, "read" | "pread64" | "write" | "pwrite64") && registers.rdx > 1 {
                registers.rdx /= 2;
                ptrace::setregs(thread, registers).unwrap();
            }
            None
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn enter(_: Pid, _: &Path, _: &mut bool, _: &mut impl FnMut(&Call, bool) -> Answer) -> Option<i64> {
    panic!("the tracer knows the registers of x86-64 alone: run these tests there")
}
