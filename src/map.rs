//! The memory map of a snapshot. Its unsafe code is the only one that touches
//! memory (the other, in [`crate::simd`], calls functions).
//!
//! A file may shrink while it is mapped. The system then sends SIGBUS to
//! whoever touches a page that is gone, which by itself would end the program
//! in the middle of its work. Here the pages that are gone are replaced by
//! zeros, and it is remembered that they were: [`Map::shrank`]. Whoever reads
//! a map asks that before believing what came of it.

use memmap2::Mmap;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file, mapped for reading.
#[derive(Debug)]
pub struct Map {
    map: Mmap,
    place: &'static Place,
}

/// Where a map lies in memory, for the signal handler: it may take no lock
/// and no memory.
#[derive(Debug)]
struct Place {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    shrank: AtomicBool,
}

/// Far more maps than any command has at a time.
static PLACES: [Place; 16] = [const {
    Place {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        shrank: AtomicBool::new(false),
    }
}; 16];

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened or mapped, or is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(&open_regular(path)?)
    }

    /// Maps an open file.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn of(file: &File) -> io::Result<Self> {
        watch()?;
        let free = |place: &&Place| !place.taken.swap(true, Ordering::AcqRel);
        let place = PLACES.iter().find(free).ok_or_else(|| io::Error::other("too many maps at a time"))?;
        #[allow(unsafe_code, reason = "a memory map cannot be had without")]
        // SAFETY: the map is read-only and private to this value, and lives
        // no longer than it. What remains is that the file may change or
        // shrink under the map, which no program can rule out for a file it
        // does not own:
        // * Changed bytes: every parser reads through bounds checks and takes
        //   no bytes on trust, and the verifying pass reads both files anew;
        //   nothing in the program relies on two reads of a byte agreeing
        //   for its memory safety.
        // * A shrunk file: touching a lost page raises SIGBUS, and
        //   `replace_lost` puts zeros in its place.
        let map = unsafe { Mmap::map(file) };
        let map = map.inspect_err(|_| place.taken.store(false, Ordering::Release))?;
        let start = map.as_ptr().addr();
        place.shrank.store(false, Ordering::Relaxed);
        place.end.store(start + map.len(), Ordering::Relaxed);
        place.start.store(start, Ordering::Release);
        Ok(Self { map, place })
    }

    /// Whether the file became shorter while it was read: what was read of it
    /// since may have been zeros.
    #[must_use]
    pub fn shrank(&self) -> bool {
        self.place.shrank.load(Ordering::Acquire)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // The memory is given back after this; nobody reads it any more.
        self.place.start.store(0, Ordering::Release);
        self.place.end.store(0, Ordering::Relaxed);
        self.place.taken.store(false, Ordering::Release);
    }
}

/// What handled SIGBUS before.
static BEFORE: OnceLock<Result<libc::sigaction, i32>> = OnceLock::new();

/// Has SIGBUS handled from here on.
#[allow(unsafe_code, reason = "no crate sets a handler that does not also call the one before it")]
fn watch() -> io::Result<()> {
    let before = BEFORE.get_or_init(|| {
        // SAFETY: the struct is plain data, for which zeros are valid; the
        // handler has the type that goes with SA_SIGINFO; it runs on a stack
        // of its own where the thread has one, and blocks no other signal.
        unsafe {
            let (mut action, mut before): (libc::sigaction, libc::sigaction) =
                (std::mem::zeroed(), std::mem::zeroed());
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_lost_page;
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            match libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) {
                0 => Ok(before),
                _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            }
        }
    });
    before.as_ref().map(drop).map_err(|error| io::Error::from_raw_os_error(*error))
}

/// Does what may be done in a signal handler: reads atomics, and makes system
/// calls; takes no lock and no memory.
#[allow(unsafe_code, reason = "a signal handler is given pointers")]
extern "C" fn on_lost_page(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the system passes a valid siginfo, and its address field is the
    // one that goes with SIGBUS, for which alone this runs.
    let address = unsafe { (*info).si_addr() }.addr();
    if !replace_lost(address)
        && let Some(Ok(before)) = BEFORE.get()
    {
        // None of ours. The page is touched again after this, and whatever
        // handled the signal before, by default the end, takes it.
        // SAFETY: this is what `watch` got from the system.
        unsafe { libc::sigaction(signal, &raw const *before, std::ptr::null_mut()) };
    }
}

/// Puts zeros in the place of everything from the lost page on to the end of
/// the map it belongs to; false when it belongs to none.
fn replace_lost(address: usize) -> bool {
    let holds = |place: &&Place| {
        (place.start.load(Ordering::Acquire)..place.end.load(Ordering::Relaxed)).contains(&address)
    };
    let Some(place) = PLACES.iter().find(holds) else { return false };
    place.shrank.store(true, Ordering::Release);
    let page = rustix::param::page_size();
    let start = address / page * page;
    let length = (place.end.load(Ordering::Relaxed) - start).next_multiple_of(page);
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    #[allow(unsafe_code, reason = "the pages that are gone have to be replaced in their place")]
    // SAFETY: the pages replaced are those of a map of this module that is
    // alive, to its end and no further: a map ends at a whole page. They stay
    // readable and stay part of the map, which gives them back as a whole;
    // that their bytes change is no more than a file's change would do.
    let replaced =
        unsafe { mmap_anonymous(std::ptr::without_provenance_mut(start), length, ProtFlags::READ, flags) };
    replaced.is_ok()
}

/// Opens a file for reading, if it is a regular one.
///
/// # Errors
/// As the file system's.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for whoever writes to it.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().map(|byte| u64::from(*byte)).sum()
    }

    #[test]
    fn a_directory_is_refused() {
        assert!(Map::open(Path::new("/")).is_err());
    }

    #[test]
    fn a_file_that_shrinks_reads_as_zeros_and_is_told() {
        let page = rustix::param::page_size();
        for left in [0, 1, page, 3 * page + 5] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![1; 10 * page + 7]).unwrap();
            let (map, other) = (Map::of(&file).unwrap(), Map::of(&file).unwrap());
            assert_eq!(map.len(), 10 * page + 7);
            assert_eq!(sum(&map[..4 * page]), u64::try_from(4 * page).unwrap());
            assert!(!map.shrank());
            file.set_len(u64::try_from(left).unwrap()).unwrap();
            // What is left of its last page is still there.
            assert_eq!(sum(&map), u64::try_from(left).unwrap());
            assert!(map.shrank());
            assert!(!other.shrank(), "each map tells of itself");
            drop(map);
            assert!(!Map::of(&tempfile_of(b"x")).unwrap().shrank(), "a place that is used again is clean");
        }
    }

    #[test]
    fn threads_that_meet_the_lost_pages_at_once_all_go_on() {
        let page = rustix::param::page_size();
        let file = tempfile_of(&vec![1; 64 * page]);
        let map = Map::of(&file).unwrap();
        file.set_len(0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(sum(&map), 0));
            }
        });
        assert!(map.shrank());
    }

    fn tempfile_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }
}
