//! Linear memory that can be frozen, thrown back and cloned: all of this crate's `unsafe`.
//!
//! Every linear memory of the engine is made here ([`creator`]). It begins as private zeros. An [`Image`] is a file in
//! memory; *freezing* a memory copies what differs into the image and from then on maps the image under it, private to
//! this mapping, so that a later write copies its page first. Another mapping of the same image is in the frozen state
//! from its first moment on, whatever became of the memory that was frozen.
//!
//! ```text
//!  base            image's length         length                                   end
//!   │ file, private, writable │ zeros, writable │ reserved, no access              │
//! ```
//!
//! # Why this is sound
//! - **Nobody else unmaps or remaps the range.** [`Mapping`] reserves it whole, alone unmaps it (on drop), and remaps
//!   only within it. wasmtime holds the mapping through [`HostMemory`], so it outlives the instance that uses it.
//! - **What is beyond the length stays without access**, up to the end of the guard that wasmtime asked for; length only
//!   rises. The file is as long as the reservation, so that no access is behind its end.
//! - **No Rust reference points into a guest's memory** from here: all access is by copying through raw pointers and the
//!   system's calls. wasmtime holds none between calls either.
//! - **Nobody runs on a memory that is frozen or thrown back.** Both take the [`Mapping`] of an
//!   [`Instance`](crate::instance::Instance), which keeps it beside its store and calls them through `&mut self`; a call
//!   into the guest takes the same `&mut`.
//! - **A clone that runs on another thread keeps its state.** Linux shows a private mapping what is written to the file
//!   later, for pages that it has not copied. So before a page of the image changes, the system gives each clone that is
//!   in use its own copy (`MADV_POPULATE_WRITE`), whatever runs on it meanwhile. A clone that is not in use is thrown back
//!   before it is used again.
//! - Contents are no matter of soundness: to wasmtime any bytes are a memory.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use task_queue_raft::state_machine::Moment;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Address space of a memory with 64-bit addresses, in bytes: past every limit of memory and what may be added to it
/// while a state is read back.
const WIDE_RESERVATION: usize = 16 << 30;

/// Ranges that one call of `PAGEMAP_SCAN` tells.
const SCANNED_AT_ONCE: usize = 512;

/// Makes the linear memories of an engine, or `None` where this system can't tell which pages of a mapping are private.
pub(crate) fn creator() -> Option<Arc<dyn MemoryCreator>> {
    // The one way to know is to try it.
    match probe() {
        Ok(()) => Some(Arc::new(ImageMemoryCreator)),
        Err(error) => {
            tracing::warn!(%error, "no memory images on this system: a failed call is undone by replay");
            None
        }
    }
}

fn probe() -> io::Result<()> {
    let page = page_bytes();
    let mapping = Mapping::reserve(4 * page, 4 * page, 0, None)?;
    let image = Image::new(mapping.reserved)?;
    mapping.own(0..page)?;
    mapping.freeze(&image, Moment::default())?;
    mapping.own(2 * page..3 * page)?;
    match mapping.private_runs(0..4 * page)?.as_slice() {
        [run] if *run == (2 * page..3 * page) => Ok(()),
        _ => Err(io::Error::other("private pages are not told apart")),
    }
}

thread_local! {
    /// The memory that this thread makes next, where the maker wants to know it.
    static NEXT: RefCell<Option<NextMemory>> = const { RefCell::new(None) };
}

struct NextMemory {
    image: Option<Arc<Image>>,
    mapping: Option<Arc<Mapping>>,
}

/// Has `make` make an instance with one memory, over an image where one is given. The mapping is `None` where no memory
/// was made.
pub(crate) fn made_by<R>(
    image: Option<&Arc<Image>>,
    make: impl FnOnce() -> R,
) -> (R, Option<Arc<Mapping>>) {
    let next = NextMemory {
        image: image.cloned(),
        mapping: None,
    };
    NEXT.with_borrow_mut(|slot| *slot = Some(next));
    let made = make();
    let next = NEXT.take();
    (made, next.and_then(|next| next.mapping))
}

struct ImageMemoryCreator;

// SAFETY: a memory is reserved with its guard, zero-filled or, where this crate asked for it, filled from an image; see the
// module on who touches it.
unsafe impl MemoryCreator for ImageMemoryCreator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let mut bytes = reserved.unwrap_or(0).max(minimum);
        if ty.is_64() {
            bytes = bytes.max(WIDE_RESERVATION);
        }
        let image = NEXT.with_borrow(|next| next.as_ref().and_then(|next| next.image.clone()));
        let mapping = Mapping::reserve(bytes, minimum, guard, image)
            .map(Arc::new)
            .map_err(|error| format!("no address space for a linear memory: {error}"))?;
        NEXT.with_borrow_mut(|next| {
            if let Some(next) = next {
                next.mapping = Some(Arc::clone(&mapping));
            }
        });
        Ok(Box::new(HostMemory(mapping)))
    }
}

/// wasmtime's end of a mapping.
struct HostMemory(Arc<Mapping>);

// SAFETY: base and reservation never change, and what is below the length is readable and writable.
unsafe impl LinearMemory for HostMemory {
    fn byte_size(&self) -> usize {
        self.0.bytes()
    }

    fn byte_capacity(&self) -> usize {
        self.0.reserved
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        Ok(self.0.grow_to(bytes)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base.as_ptr()
    }
}

/// The memory of one instance.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    /// Bytes that it may grow to.
    reserved: usize,
    /// Bytes of address space, with the guard.
    whole: usize,
    /// Bytes that are accessible.
    bytes: AtomicUsize,
    /// Of which so many are backed by the image.
    backed: AtomicUsize,
    /// Of the image's state that it shows, for a clone.
    version: AtomicU64,
}

// SAFETY: it owns the range, and what can be done to it from two threads at once is done by the system.
unsafe impl Send for Mapping {}
// SAFETY: as above; see the module on guests that run.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody else knows the range any more.
        let unmapped = unsafe { libc::munmap(self.base.as_ptr().cast(), self.whole) };
        debug_assert_eq!(unmapped, 0, "{}", io::Error::last_os_error());
    }
}

impl Mapping {
    fn reserve(
        reserved: usize,
        minimum: usize,
        guard: usize,
        image: Option<Arc<Image>>,
    ) -> io::Result<Self> {
        let page = page_bytes();
        let reserved = reserved.next_multiple_of(page).max(page);
        let whole = reserved
            .checked_add(guard.next_multiple_of(page))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping somewhere.
        let base = unsafe { libc::mmap(ptr::null_mut(), whole, libc::PROT_NONE, flags, -1, 0) };
        let base = mapped(base)?;
        let mapping = Self {
            base,
            reserved,
            whole,
            bytes: AtomicUsize::new(0),
            backed: AtomicUsize::new(0),
            version: AtomicU64::new(u64::MAX),
        };
        let mut bytes = minimum;
        if let Some(image) = image {
            let frozen = image.lock();
            mapping.back_by(&image, 0..frozen.bytes)?;
            bytes = bytes.max(frozen.bytes);
        }
        mapping.grow_to(bytes)?;
        Ok(mapping)
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether it is longer than what an image backs.
    pub(crate) fn has_grown(&self) -> bool {
        self.bytes() > self.backed.load(Ordering::Acquire)
    }

    fn grow_to(&self, bytes: usize) -> io::Result<()> {
        let before = self.bytes();
        if bytes > self.reserved {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let start = before.max(self.backed.load(Ordering::Acquire));
        if bytes > start {
            // SAFETY: within the reservation and beyond all that is in use.
            let done = unsafe {
                libc::mprotect(
                    self.base.as_ptr().add(start).cast(),
                    (bytes - start).next_multiple_of(page_bytes()),
                    libc::PROT_READ | libc::PROT_WRITE,
                )
            };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        self.bytes.store(bytes.max(before), Ordering::Release);
        Ok(())
    }

    /// Maps that part of the image, which is page by page the same as what was there or is not in use yet.
    fn back_by(&self, image: &Image, part: Range<usize>) -> io::Result<()> {
        if !part.is_empty() {
            let offset = libc::off_t::try_from(part.start).map_err(io::Error::other)?;
            // SAFETY: within the reservation.
            let at = unsafe {
                libc::mmap(
                    self.base.as_ptr().add(part.start).cast(),
                    part.len(),
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                    image.file.as_raw_fd(),
                    offset,
                )
            };
            mapped(at)?;
        }
        self.backed.store(part.end, Ordering::Release);
        Ok(())
    }

    /// Copies all that differs into the image, which then backs it; the image is of the moment `at` or a later one. The
    /// memory has to be this image's, or nobody's yet.
    ///
    /// # Errors
    /// The system has no memory, or does not tell what differs. The image then is of no use any more, and whoever was to
    /// go back to it can't.
    pub(crate) fn freeze(&self, image: &Image, at: Moment) -> io::Result<FreezeStats> {
        let mut state = image.lock();
        if state.broken {
            return Err(broken());
        }
        // Until all of it is there.
        state.broken = true;
        let (backed, bytes) = (self.backed.load(Ordering::Acquire), self.bytes());
        debug_assert_eq!(backed, state.bytes, "frozen into another's image");
        let mut frozen = FreezeStats::default();
        let mut clean = Vec::new();
        for run in self.private_runs(0..backed)? {
            self.update(image, &state, run, &mut frozen, &mut clean)?;
        }
        for run in self.private_runs(backed..bytes)? {
            frozen.copied_bytes += run.len() as u64;
            // SAFETY: below the length, and nobody writes to it meanwhile.
            let source = unsafe { self.slice(run.clone()) };
            image.file.write_all_at(source, run.start as u64)?;
        }
        self.back_by(image, backed..bytes)?;
        // A page that is private and did not change since the last time is not worth to be looked at again.
        for run in clean {
            self.drop_private(run)?;
        }
        state.bytes = bytes;
        state.version += 1;
        state.reach(at);
        state.broken = false;
        Ok(frozen)
    }

    /// Copies the pages of a run that differ from the image, and notes those that don't.
    fn update(
        &self,
        image: &Image,
        state: &ImageState,
        run: Range<usize>,
        frozen: &mut FreezeStats,
        clean: &mut Vec<Range<usize>>,
    ) -> io::Result<()> {
        for page in pages(run) {
            // SAFETY: both are mapped that far, and nobody writes to either meanwhile.
            let is_same = unsafe { self.slice(page.clone()) == image.slice(page.clone()) };
            frozen.private_bytes += page.len() as u64;
            if is_same {
                match clean.last_mut() {
                    Some(last) if last.end == page.start => last.end = page.end,
                    _ => clean.push(page),
                }
                continue;
            }
            for clone in &state.in_use {
                if page.end <= clone.backed.load(Ordering::Acquire) {
                    clone.own(page.clone())?;
                }
            }
            frozen.copied_bytes += page.len() as u64;
            // SAFETY: both are mapped that far, and are not the same; whoever else has mapped the page was seen to.
            unsafe {
                let from = self.base.as_ptr().add(page.start);
                let to = image.view.as_ptr().add(page.start);
                ptr::copy_nonoverlapping(from, to, page.len());
            }
        }
        Ok(())
    }

    /// Throws away what was written since the image was mapped.
    ///
    /// # Errors
    /// The system refuses. The contents are then neither the old nor the new ones.
    pub(crate) fn throw_back(&self) -> io::Result<()> {
        self.drop_private(0..self.backed.load(Ordering::Acquire))
    }

    fn drop_private(&self, run: Range<usize>) -> io::Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        // SAFETY: this part is backed by the image, so it stays accessible and shows what the image has.
        let done = unsafe {
            libc::madvise(
                self.base.as_ptr().add(run.start).cast(),
                run.len(),
                libc::MADV_DONTNEED,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Has the mapping own its copy of some pages, whose contents stay. (Linux 5.14. To write a byte back as it was would
    /// do, if it were not what a compiler leaves out.)
    fn own(&self, run: Range<usize>) -> io::Result<()> {
        // SAFETY: below the length, and no content changes.
        let done = unsafe {
            libc::madvise(
                self.base.as_ptr().add(run.start).cast(),
                run.len(),
                libc::MADV_POPULATE_WRITE,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Bytes of a part.
    ///
    /// # Safety
    /// The part is below the length, and nobody writes to it as long as the slice lives.
    unsafe fn slice(&self, part: Range<usize>) -> &[u8] {
        debug_assert!(part.end <= self.bytes());
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(part.start), part.len()) }
    }

    /// Which pages of a part this mapping has of its own.
    fn private_runs(&self, part: Range<usize>) -> io::Result<Vec<Range<usize>>> {
        private_runs(self.base.as_ptr() as usize, part)
    }
}

/// What a freeze came upon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreezeStats {
    /// Bytes that were looked at.
    pub(crate) private_bytes: u64,
    /// Bytes that were copied.
    pub(crate) copied_bytes: u64,
}

/// A memory as it was when it was last frozen.
pub(crate) struct Image {
    file: File,
    /// All of the file. To write to it here takes a quarter of what a call of the system for each page takes; where it has
    /// no memory for a page that was never written, the process ends as it would at any other memory.
    view: NonNull<u8>,
    view_bytes: usize,
    state: Mutex<ImageState>,
}

struct ImageState {
    bytes: usize,
    /// Rises with each freeze.
    version: u64,
    /// A freeze ended in the middle.
    broken: bool,
    /// The last moment that is known to be in it. A part of the next entry may be in it as well.
    at: Moment,
    /// Clones that run.
    in_use: Vec<Arc<Mapping>>,
}

impl ImageState {
    fn reach(&mut self, at: Moment) {
        if self.at.index < at.index {
            self.at = at;
        }
    }
}

// SAFETY: it owns the file and its view, which is used under the lock alone.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: nobody else knows the view any more.
        let unmapped = unsafe { libc::munmap(self.view.as_ptr().cast(), self.view_bytes) };
        debug_assert_eq!(unmapped, 0, "{}", io::Error::last_os_error());
    }
}

impl Image {
    /// An empty one for this memory.
    ///
    /// # Errors
    /// The system has no file descriptor or no address space for it.
    pub(crate) fn of(mapping: &Mapping) -> io::Result<Arc<Self>> {
        Self::new(mapping.reserved).map(Arc::new)
    }

    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: the name ends with a zero, and the descriptor is nobody else's.
        let file = unsafe {
            let descriptor = libc::memfd_create(c"oarlock-guest".as_ptr(), libc::MFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(descriptor)
        };
        file.set_len(bytes as u64)?;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping somewhere, of a file that is that long and is never cut.
        let view = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        Ok(Self {
            file,
            view: mapped(view)?,
            view_bytes: bytes,
            state: Mutex::new(ImageState {
                bytes: 0,
                version: 0,
                broken: false,
                at: Moment::default(),
                in_use: Vec::new(),
            }),
        })
    }

    /// Takes a clone into use: it shows the image as it is now, and keeps showing it until it is let go. What the clone
    /// had written since the image last changed stays. `None` where the memory has grown since the clone was made, so
    /// that another one is needed.
    ///
    /// # Errors
    /// The image is of no use any more, or the system refuses.
    pub(crate) fn hold(self: &Arc<Self>, clone: &Arc<Mapping>) -> io::Result<Option<HeldClone>> {
        let mut state = self.lock();
        if clone.version.load(Ordering::Relaxed) != state.version {
            // Not under the lock: it may take a while, and nobody touches the clone meanwhile.
            drop(state);
            // Page by page: what it has only read is the image's, and shows what that has now.
            for run in clone.private_runs(0..clone.backed.load(Ordering::Acquire))? {
                clone.drop_private(run)?;
            }
            state = self.lock();
        }
        if state.broken {
            return Err(broken());
        }
        // One that has grown by itself to the length of the image has zeros where that has something else.
        if (clone.backed.load(Ordering::Acquire), clone.bytes()) != (state.bytes, state.bytes) {
            return Ok(None);
        }
        clone.version.store(state.version, Ordering::Relaxed);
        state.in_use.push(Arc::clone(clone));
        let at = state.at;
        drop(state);
        Ok(Some(HeldClone {
            at,
            image: Arc::clone(self),
            clone: Arc::clone(clone),
        }))
    }

    /// Nothing that is in the memory has changed up to this moment.
    pub(crate) fn reaches(&self, at: Moment) {
        self.lock().reach(at);
    }

    #[cfg(test)]
    pub(crate) fn break_for_test(&self) {
        self.lock().broken = true;
    }

    /// Bytes of the image.
    ///
    /// # Safety
    /// The part is within the file, and nobody writes to it as long as the slice lives.
    unsafe fn slice(&self, part: Range<usize>) -> &[u8] {
        debug_assert!(part.end <= self.view_bytes);
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts(self.view.as_ptr().add(part.start), part.len()) }
    }

    fn lock(&self) -> MutexGuard<'_, ImageState> {
        // What a panic left is marked as broken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clone that is in use.
pub(crate) struct HeldClone {
    at: Moment,
    image: Arc<Image>,
    clone: Arc<Mapping>,
}

impl HeldClone {
    /// The moment that the clone's state is of.
    pub(crate) fn at(&self) -> Moment {
        self.at
    }
}

impl Drop for HeldClone {
    fn drop(&mut self) {
        let mut state = self.image.lock();
        state
            .in_use
            .retain(|clone| !Arc::ptr_eq(clone, &self.clone));
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier freeze of this image ended in the middle")
}

fn mapped(at: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

/// Size of a page of this machine.
fn page_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        // SAFETY: asks for a number.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).unwrap_or(4096)
    })
}

fn pages(run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let page = page_bytes();
    run.step_by(page).map(move |start| start..start + page)
}

/// This process's table of pages.
fn pagemap() -> io::Result<&'static File> {
    static FILE: OnceLock<File> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file);
    }
    let file = File::open("/proc/self/pagemap")?;
    Ok(FILE.get_or_init(|| file))
}

fn private_runs(base: usize, part: Range<usize>) -> io::Result<Vec<Range<usize>>> {
    static HAS_SCAN: OnceLock<bool> = OnceLock::new();
    if part.is_empty() {
        return Ok(Vec::new());
    }
    if HAS_SCAN.get() != Some(&false) {
        match scan(base, part.clone()) {
            Ok(runs) => {
                let _ = HAS_SCAN.set(true);
                return Ok(runs);
            }
            // Linux before 6.7 has no such call.
            Err(error) if HAS_SCAN.get().is_none() => {
                tracing::debug!(%error, "no PAGEMAP_SCAN, reading the table of pages instead");
                let _ = HAS_SCAN.set(false);
            }
            Err(error) => return Err(error),
        }
    }
    read_pagemap(base, part)
}

/// `struct page_region` of Linux's `fs.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of Linux's `fs.h`.
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO: u64 = 1 << 5;

/// Asks `PAGEMAP_SCAN` (Linux 6.7).
fn scan(base: usize, part: Range<usize>) -> io::Result<Vec<Range<usize>>> {
    const PAGEMAP_SCAN: libc::Ioctl =
        (3 << 30 | (size_of::<ScanArguments>() << 16) | (b'f' as usize) << 8 | 16) as libc::Ioctl;
    let mut regions = [PageRegion::default(); SCANNED_AT_ONCE];
    let mut runs: Vec<Range<usize>> = Vec::new();
    let end = (base + part.end.next_multiple_of(page_bytes())) as u64;
    let mut start = (base + part.start) as u64;
    while start < end {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start,
            end,
            vec: regions.as_mut_ptr() as u64,
            vec_len: SCANNED_AT_ONCE as u64,
            category_inverted: IS_FILE | IS_ZERO,
            category_mask: IS_FILE | IS_ZERO,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_PRESENT | IS_SWAPPED,
            ..ScanArguments::default()
        };
        // SAFETY: the arguments and the regions live as long as the call, and say how long they are.
        let found = unsafe {
            libc::ioctl(
                pagemap()?.as_raw_fd(),
                PAGEMAP_SCAN,
                ptr::from_mut(&mut arguments),
            )
        };
        let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
        for region in &regions[..found] {
            add_run(
                &mut runs,
                region.start as usize - base..region.end as usize - base,
            );
        }
        if arguments.walk_end <= start {
            return Err(io::Error::other("the table of pages was not walked"));
        }
        start = arguments.walk_end;
    }
    Ok(runs)
}

/// Reads the table itself: eight bytes for each page (Linux's `pagemap.rst`).
fn read_pagemap(base: usize, part: Range<usize>) -> io::Result<Vec<Range<usize>>> {
    const ENTRIES: usize = 4096;
    let page = page_bytes();
    let mut entries = vec![0; 8 * ENTRIES];
    let mut runs = Vec::new();
    let mut start = part.start;
    while start < part.end {
        let count = (part.end - start).div_ceil(page).min(ENTRIES);
        let entries = &mut entries[..8 * count];
        pagemap()?.read_exact_at(entries, ((base + start) / page * 8) as u64)?;
        for (number, entry) in entries.as_chunks::<8>().0.iter().enumerate() {
            let entry = u64::from_ne_bytes(*entry);
            let (present, swapped, file) = (entry >> 63 & 1, entry >> 62 & 1, entry >> 61 & 1);
            if present | swapped == 1 && file == 0 {
                let at = start + number * page;
                add_run(&mut runs, at..at + page);
            }
        }
        start += count * page;
    }
    Ok(runs)
}

fn add_run(runs: &mut Vec<Range<usize>>, run: Range<usize>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

#[cfg(test)]
mod tests;
