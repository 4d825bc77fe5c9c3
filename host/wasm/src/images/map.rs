//! Linear memory that can be frozen, reset and cloned. Almost all `unsafe` of this crate is here.
//!
//! [`creator`] creates every linear memory of the engine. A memory starts as private zeros. An [`Image`] is an
//! in-memory file. *Freezing* a memory copies the changed pages to the image, and maps the image under the memory as a
//! private mapping, so that a later write copies its page first. Another mapping of the same image starts in the frozen
//! state, independently of later writes to the first memory.
//!
//! ```text
//!  base            image's length         length                                   end
//!   │ file, private, writable │ zeros, writable │ reserved, no access              │
//! ```
//!
//! # Why this is sound
//! - **No other code unmaps or remaps the range.** [`Mapping`] reserves the whole range, unmaps it on drop, and remaps only
//!   within it. wasmtime owns the mapping through [`HostMemory`], so it outlives the instance that uses it.
//! - **Addresses past the length stay inaccessible**, up to the end of the guard that wasmtime requested. The length only
//!   grows. The file is as long as the reservation, so no access is past its end.
//! - **No Rust reference from here outlives a copy or a comparison.** Other access is through raw pointers and system calls.
//!   wasmtime keeps no reference between calls either.
//! - **No guest code runs on a memory while it is frozen or reset.** Both operations take the [`Mapping`] of an
//!   [`Instance`](crate::guest::instance::Instance), which keeps it next to its store and calls them through `&mut self`. A call
//!   into the guest needs the same `&mut`.
//! - **A clone that runs on another thread keeps its state.** For pages that a private mapping has not copied yet, Linux shows
//!   later writes to the file. So before a page of the image changes, each clone in use gets its own copy of the page
//!   (`MADV_POPULATE_WRITE`), which is safe while guest code runs on the clone. A clone that is not in use is reset before
//!   it is used again.
//! - The contents do not matter for soundness: wasmtime accepts any bytes as memory.

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

/// Address space of a memory with 64-bit addresses, in bytes: above the largest memory limit, with the extra that is
/// allowed while a state is restored.
const WIDE_RESERVATION: usize = 16 << 30;

/// Largest number of ranges that one `PAGEMAP_SCAN` returns.
const RANGES_PER_SCAN: usize = 512;

/// Creates the linear memories of an engine; `None` if this system does not report which pages of a mapping are
/// private.
pub(crate) fn creator() -> Option<Arc<dyn MemoryCreator>> {
    // Support can only be found out by trying.
    match probe() {
        Ok(()) => Some(Arc::new(ImageMemoryCreator)),
        Err(error) => {
            tracing::warn!(%error, "this system does not support memory images: failed calls are rolled back by replay");
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
        _ => Err(io::Error::other("the system does not report private pages")),
    }
}

thread_local! {
    /// How this thread creates its next memory, and that memory. Set while `made_by` runs.
    static NEXT: RefCell<Option<NextMemory>> = const { RefCell::new(None) };
}

struct NextMemory {
    image: Option<Arc<Image>>,
    mapping: Option<Arc<Mapping>>,
}

/// Runs `make`, which creates an instance with one memory, over `image` if one is given. The mapping is `None` if
/// `make` created no memory.
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

// SAFETY: a memory is reserved with its guard, and filled with zeros or, if this crate requested it, from an image. The
// module documentation lists all code that accesses it.
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

/// A mapping, as wasmtime owns it.
struct HostMemory(Arc<Mapping>);

// SAFETY: base and reservation never change, and all bytes below the length are readable and writable.
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
    /// Largest length in bytes.
    reserved: usize,
    /// Address space in bytes, including the guard.
    address_bytes: usize,
    /// Accessible length in bytes.
    bytes: AtomicUsize,
    /// Number of bytes, from the beginning, that the image backs.
    backed: AtomicUsize,
    /// For a clone: version of the image state that it shows.
    version: AtomicU64,
}

// SAFETY: the mapping owns the range, and concurrent operations on it are system calls, which the system synchronizes.
unsafe impl Send for Mapping {}
// SAFETY: as above; the module documentation covers guests that run.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this was the last reference to the range.
        let unmapped = unsafe { libc::munmap(self.base.as_ptr().cast(), self.address_bytes) };
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
        let address_bytes = reserved
            .checked_add(guard.next_multiple_of(page))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the system chooses.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                address_bytes,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        let base = mapped(base)?;
        let mapping = Self {
            base,
            reserved,
            address_bytes,
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

    /// Length in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether the memory is longer than the part that the image backs.
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
            // SAFETY: within the reservation, and past all bytes in use.
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

    /// Maps a part of the image. Each of its pages equals the page that it replaces, or that page is not in use yet.
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

    /// Copies all changed pages to the image, which then backs the memory. `at` is the last entry that the memory
    /// contains. The memory must be backed by this image, or by none yet.
    ///
    /// # Errors
    /// The system has no memory, or does not report changed pages. Then the image is broken, and can't be used for a
    /// rollback any more.
    pub(crate) fn freeze(&self, image: &Image, at: Moment) -> io::Result<FreezeStats> {
        let mut state = image.lock();
        if state.broken {
            return Err(broken());
        }
        // Reset below, once the copy is complete.
        state.broken = true;
        let (backed, bytes) = (self.backed.load(Ordering::Acquire), self.bytes());
        debug_assert_eq!(
            backed, state.bytes,
            "frozen into the image of another memory"
        );
        let mut frozen = FreezeStats::default();
        let mut clean = Vec::new();
        for run in self.private_runs(0..backed)? {
            self.update(image, &state, run, &mut frozen, &mut clean)?;
        }
        for run in self.private_runs(backed..bytes)? {
            frozen.copied_bytes += run.len() as u64;
            // SAFETY: below the length, and no guest code runs on the memory now.
            let source = unsafe { self.slice(run.clone()) };
            image.file.write_all_at(source, run.start as u64)?;
        }
        self.back_by(image, backed..bytes)?;
        // A private page without changes would be compared again at every freeze, so it is unmapped.
        for run in clean {
            self.drop_private(run)?;
        }
        state.bytes = bytes;
        state.version += 1;
        state.reach(at);
        state.broken = false;
        Ok(frozen)
    }

    /// Copies the changed pages of a run to the image, and adds the unchanged ones to `clean`.
    fn update(
        &self,
        image: &Image,
        state: &ImageState,
        run: Range<usize>,
        frozen: &mut FreezeStats,
        clean: &mut Vec<Range<usize>>,
    ) -> io::Result<()> {
        for page in pages(run) {
            // SAFETY: both are mapped up to there, and nothing writes to either now.
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
            // SAFETY: both are mapped up to there, and do not overlap. Clones that map the page have their own copy
            // now.
            unsafe {
                let from = self.base.as_ptr().add(page.start);
                let to = image.view.as_ptr().add(page.start);
                ptr::copy_nonoverlapping(from, to, page.len());
            }
        }
        Ok(())
    }

    /// Discards all writes since the image was mapped.
    ///
    /// # Errors
    /// The system refuses. Then the contents are undefined.
    pub(crate) fn discard_changes(&self) -> io::Result<()> {
        self.drop_private(0..self.backed.load(Ordering::Acquire))
    }

    fn drop_private(&self, run: Range<usize>) -> io::Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        // SAFETY: the image backs this part, so it stays accessible and shows the image's contents.
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

    /// Gives the mapping private copies of some pages, with the same contents. Needs Linux 5.14. (Writing a byte back
    /// unchanged would have the same effect, but a compiler removes such a write.)
    fn own(&self, run: Range<usize>) -> io::Result<()> {
        // SAFETY: below the length, and the contents do not change.
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

    /// The bytes of a part.
    ///
    /// # Safety
    /// The part must be below the length, and nothing may write to it while the slice exists.
    unsafe fn slice(&self, part: Range<usize>) -> &[u8] {
        debug_assert!(part.end <= self.bytes());
        // SAFETY: guaranteed by the caller.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(part.start), part.len()) }
    }

    /// The pages of a part that are private to this mapping.
    fn private_runs(&self, part: Range<usize>) -> io::Result<Vec<Range<usize>>> {
        private_runs(self.base.as_ptr() as usize, part)
    }
}

/// Statistics of a freeze.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreezeStats {
    /// Compared bytes.
    pub(crate) private_bytes: u64,
    /// Copied bytes.
    pub(crate) copied_bytes: u64,
}

/// The contents of a memory at its last freeze.
pub(crate) struct Image {
    file: File,
    /// Mapping of the whole file. Writing here takes a quarter of the time of one system call for each page. If the
    /// system has no memory for a new page, the process is killed, as with any other memory.
    view: NonNull<u8>,
    view_bytes: usize,
    state: Mutex<ImageState>,
}

struct ImageState {
    bytes: usize,
    /// Incremented by each freeze.
    version: u64,
    /// A freeze failed in the middle.
    broken: bool,
    /// The last entry known to be contained. Some calls of the next entry may be contained as well.
    at: Moment,
    /// Clones in use.
    in_use: Vec<Arc<Mapping>>,
}

impl ImageState {
    fn reach(&mut self, at: Moment) {
        if self.at.index < at.index {
            self.at = at;
        }
    }
}

// SAFETY: the image owns the file and its view, and uses the view only under the lock.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: this was the last reference to the view.
        let unmapped = unsafe { libc::munmap(self.view.as_ptr().cast(), self.view_bytes) };
        debug_assert_eq!(unmapped, 0, "{}", io::Error::last_os_error());
    }
}

impl Image {
    /// Creates an empty image for a memory.
    ///
    /// # Errors
    /// The system has no file descriptor or no address space left.
    pub(crate) fn of(mapping: &Mapping) -> io::Result<Arc<Self>> {
        Self::new(mapping.reserved).map(Arc::new)
    }

    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: the name ends with a zero, and the new descriptor has no other owner.
        let file = unsafe {
            let descriptor = libc::memfd_create(c"oarlock-guest".as_ptr(), libc::MFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(descriptor)
        };
        file.set_len(bytes as u64)?;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the system chooses, of a file that has this length and is never
        // truncated.
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

    /// Marks a clone as in use. It then shows the image's current state, and keeps it until the result is dropped.
    /// Writes of the clone since the image last changed are kept. `None`: the memory has grown since the clone was
    /// created, so a new clone is needed.
    ///
    /// # Errors
    /// The image is broken, or the system refuses.
    pub(crate) fn hold(self: &Arc<Self>, clone: &Arc<Mapping>) -> io::Result<Option<HeldClone>> {
        let mut state = self.lock();
        if clone.version.load(Ordering::Relaxed) != state.version {
            // Without the lock, because it may take long. Only this thread uses the clone.
            drop(state);
            // Only private pages: other pages are the image's, and show its current contents already.
            for run in clone.private_runs(0..clone.backed.load(Ordering::Acquire))? {
                clone.drop_private(run)?;
            }
            state = self.lock();
        }
        if state.broken {
            return Err(broken());
        }
        // A clone that grew on its own to the image's length has zeros where the image may have other contents.
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

    /// Records that the memory did not change up to the entry `at`.
    pub(crate) fn reaches(&self, at: Moment) {
        self.lock().reach(at);
    }

    #[cfg(test)]
    pub(crate) fn break_for_test(&self) {
        self.lock().broken = true;
    }

    /// The bytes of a part of the image.
    ///
    /// # Safety
    /// The part must be within the file, and nothing may write to it while the slice exists.
    unsafe fn slice(&self, part: Range<usize>) -> &[u8] {
        debug_assert!(part.end <= self.view_bytes);
        // SAFETY: guaranteed by the caller.
        unsafe { std::slice::from_raw_parts(self.view.as_ptr().add(part.start), part.len()) }
    }

    fn lock(&self) -> MutexGuard<'_, ImageState> {
        // If a panic interrupted a freeze, the state is marked as broken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clone in use; it is released on drop.
pub(crate) struct HeldClone {
    at: Moment,
    image: Arc<Image>,
    clone: Arc<Mapping>,
}

impl HeldClone {
    /// The last entry in the clone's state.
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
    io::Error::other("an earlier freeze of this image failed in the middle")
}

fn mapped(at: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

/// Page size of this machine, in bytes.
fn page_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        // SAFETY: reads a system constant.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).unwrap_or(4096)
    })
}

fn pages(run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let page = page_bytes();
    run.step_by(page).map(move |start| start..start + page)
}

/// The page table of this process.
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
            // Linux before 6.7 lacks this call.
            Err(error) if HAS_SCAN.get().is_none() => {
                tracing::debug!(%error, "PAGEMAP_SCAN is not available; reading the page table instead");
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

/// Finds private pages with `PAGEMAP_SCAN` (Linux 6.7).
fn scan(base: usize, part: Range<usize>) -> io::Result<Vec<Range<usize>>> {
    const PAGEMAP_SCAN: libc::Ioctl =
        (3 << 30 | (size_of::<ScanArguments>() << 16) | (b'f' as usize) << 8 | 16) as libc::Ioctl;
    let mut regions = [PageRegion::default(); RANGES_PER_SCAN];
    let mut runs: Vec<Range<usize>> = Vec::new();
    let end = (base + part.end.next_multiple_of(page_bytes())) as u64;
    let mut start = (base + part.start) as u64;
    while start < end {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start,
            end,
            vec: regions.as_mut_ptr() as u64,
            vec_len: RANGES_PER_SCAN as u64,
            category_inverted: IS_FILE | IS_ZERO,
            category_mask: IS_FILE | IS_ZERO,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_PRESENT | IS_SWAPPED,
            ..ScanArguments::default()
        };
        // SAFETY: the arguments and the regions outlive the call, and the arguments contain their sizes.
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
            return Err(io::Error::other("PAGEMAP_SCAN made no progress"));
        }
        start = arguments.walk_end;
    }
    Ok(runs)
}

/// Finds private pages in the page table itself: eight bytes for each page (Linux's `pagemap.rst`).
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
