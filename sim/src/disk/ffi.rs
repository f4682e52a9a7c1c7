//! The door through which SQLite comes in: a VFS whose files are those of a [`Model`].
//!
//! Everything here is translation: pointers into slices, refusals into result codes. What a disk does is decided in the
//! model, which is safe code. Each disk has a VFS of its own under a name that no other has; a file holds on to its
//! disk, so that nothing is freed under an open connection. Nothing is claimed of the device: no atomic writes, no safe
//! append, no writes that leave their neighbours alone.
#![expect(unsafe_code, reason = "SQLite's interface for file systems is C; this file alone speaks it")]

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr, slice,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use dacapo_backends::sqlite;
use rusqlite::ffi;

use super::{
    files::Beside,
    locks::{Level, Slot},
    model::{Handle, How, Model, Refused, sector_size},
};
use crate::engine::EPOCH_US;

/// 1970-01-01 in SQLite's count: milliseconds since noon in Greenwich on November 24, 4714 B.C.
const UNIX_EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;

/// Longer than any name on these disks.
const PATH_MAX: c_int = 64;

/// Slots of shared memory that SQLite locks.
const SLOTS: c_int = 8;

/// What the files of a disk share.
pub(super) struct Shared {
    model: Mutex<Model>,
    /// The shared memory of each file in a life, with the life.
    memory: Mutex<(u64, BTreeMap<String, Arc<Memory>>)>,
    /// What others do while the next copy is made.
    meanwhile: Mutex<Option<sqlite::Pace>>,
    name: CString,
}

impl Shared {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What others do while a copy is made, told once.
    pub(super) fn meanwhile(&self) -> MutexGuard<'_, Option<sqlite::Pace>> {
        self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file's shared memory of the life that is on now.
    fn memory(&self, file: &str) -> Arc<Memory> {
        let life = self.model().life();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.0 != life {
            *memory = (life, BTreeMap::new());
        }
        Arc::clone(memory.1.entry(file.to_owned()).or_default())
    }
}

/// Memory that the connections of one process share. SQLite changes it behind our back, so it is made of atomics.
#[derive(Default)]
struct Memory(Mutex<Vec<Box<[AtomicU64]>>>);

impl Memory {
    /// A region of so many bytes; none if it is not there and shall not be made.
    fn region(&self, index: usize, size: usize, extend: bool) -> Option<*mut c_void> {
        let mut regions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while extend && regions.len() <= index {
            regions.push((0..size.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
        }
        regions.get(index).map(|region| region.as_ptr().cast_mut().cast())
    }
}

/// A VFS that SQLite knows by its name until this is dropped.
pub(super) struct Vfs {
    shared: Arc<Shared>,
    /// From `Box::into_raw`.
    vfs: *mut ffi::sqlite3_vfs,
}

// SAFETY: the pointer is to memory of this value's own; SQLite's list of VFSs, which also knows it, has a lock.
unsafe impl Send for Vfs {}
// SAFETY: nothing is changed through a shared reference but what stands behind the locks of `Shared`.
unsafe impl Sync for Vfs {}

impl Vfs {
    /// Registers a VFS for this model.
    pub(super) fn register(model: Model) -> Self {
        // Names must differ within the process, and nothing depends on them.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        leave_out_statistics();
        let name = format!("dacapo-disk-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).expect("the name holds no zero");
        let memory = Mutex::new((model.life(), BTreeMap::new()));
        let shared = Arc::new(Shared { model: Mutex::new(model), memory, meanwhile: Mutex::default(), name });
        let vfs = Box::into_raw(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<File>() as c_int,
            mxPathname: PATH_MAX,
            pNext: ptr::null_mut(),
            zName: shared.name.as_ptr(),
            pAppData: Arc::as_ptr(&shared).cast_mut().cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path_name),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: None,
            xCurrentTimeInt64: Some(current_time_ms),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure lives until it is unregistered and every connection is closed; it is not the default.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes a VFS under a new name");
        Self { shared, vfs }
    }

    /// What a store is told to live on it.
    pub(super) fn told(&self) -> sqlite::Vfs {
        let name = self.shared.name.to_str().expect("the name is ASCII").to_owned();
        sqlite::Vfs { name, files: Arc::new(Beside(Arc::clone(&self.shared))) }
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.model()
    }

    /// Others do this while the next copy is made.
    pub(super) fn set_meanwhile(&self, meanwhile: sqlite::Pace) {
        *self.shared.meanwhile() = Some(meanwhile);
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        // SAFETY: it was registered, and is unregistered once.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
        // A connection that is still open looks at the structure; it is then left where it is.
        if Arc::strong_count(&self.shared) == 1 {
            // SAFETY: the pointer came from `Box::into_raw`, and no file is open that could lead to it.
            drop(unsafe { Box::from_raw(self.vfs) });
        } else {
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}

/// SQLite counts its memory under a lock of the whole process, for which runs in several threads would queue. Nobody here
/// asks for the figures; where SQLite was in use before, it says no and goes on counting.
fn leave_out_statistics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the operation takes one integer, and SQLite refuses it where it would come too late.
        let _ = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0 as c_int) };
    });
}

/// Makes SQLite's own generator, which the whole process shares, begin anew from a seed. It ends up in the salts of
/// write-ahead logs and nowhere else; nothing that a store or a disk decides depends on it.
pub(crate) fn seed_generator(seed: u64) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut byte = 0_u8;
    let seed = (seed as c_int) | 1;
    let no_connection: *mut ffi::sqlite3 = ptr::null_mut();
    // SAFETY: the arguments are those that these operations take; one byte is drawn into one byte, which makes the
    // generator take its seed.
    unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_PRNG_SEED, seed, no_connection);
        ffi::sqlite3_randomness(1, (&raw mut byte).cast());
    }
}

/// An open file: SQLite's part first.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    state: *mut State,
}

/// Our part of an open file, from `Box::into_raw`.
struct State {
    shared: Arc<Shared>,
    handle: Handle,
    name: String,
    memory: Option<Arc<Memory>>,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

fn code(result: Result<(), Refused>, medium: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Refused::Full) => ffi::SQLITE_FULL,
        Err(Refused::Busy) => ffi::SQLITE_BUSY,
        Err(Refused::ReadFailed) => ffi::SQLITE_IOERR_CORRUPTFS,
        Err(Refused::SyncFailed) => ffi::SQLITE_IOERR_FSYNC,
        Err(Refused::Dead | Refused::Missing | Refused::Taken) => medium,
    }
}

/// The disk of a VFS.
///
/// # Safety
/// `vfs` is one that [`Vfs::register`] made, and its [`Vfs`] is alive or a connection to it is open.
unsafe fn shared<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Shared {
    // SAFETY: `pAppData` points to the `Shared` of the `Vfs`, which the caller says is there.
    unsafe { &*(*vfs).pAppData.cast::<Shared>() }
}

/// Our part of an open file.
///
/// # Safety
/// `file` was opened by [`open`] and is not closed; SQLite uses a file from one thread at a time.
unsafe fn state<'a>(file: *mut ffi::sqlite3_file) -> &'a mut State {
    // SAFETY: `open` put a valid pointer there, which `close` alone takes away.
    unsafe { &mut *(*file.cast::<File>()).state }
}

/// A name as text.
///
/// # Safety
/// `name` ends with a zero.
unsafe fn text<'a>(name: *const c_char) -> &'a str {
    // SAFETY: as the caller says. The names are those that we gave, so they are ASCII.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default()
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives memory of `szOsFile` bytes; without methods it is taken for a file that was never opened.
    unsafe { (*file).pMethods = ptr::null() };
    if name.is_null() {
        // A temporary file: stores keep theirs in memory.
        return ffi::SQLITE_CANTOPEN;
    }
    let is = |flag: c_int| flags & flag != 0;
    let is_log = is(ffi::SQLITE_OPEN_WAL);
    let is_journal = is_log || is(ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL);
    let how = How { create: is(ffi::SQLITE_OPEN_CREATE), is_journal, is_log };
    // SAFETY: SQLite calls with the VFS that it found by name, and a name that ends with a zero.
    let (disk, name) = unsafe { (shared(vfs), text(name)) };
    let Ok(handle) = disk.model().open(name, how) else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: the pointer is that of an `Arc` which is alive; the count is given back when the state is dropped.
    let disk = unsafe {
        Arc::increment_strong_count(ptr::from_ref(disk));
        Arc::from_raw(ptr::from_ref(disk))
    };
    let state = Box::into_raw(Box::new(State { shared: disk, handle, name: name.to_owned(), memory: None }));
    // SAFETY: `file` has room for a `File`; `out_flags` is null or points to an integer.
    unsafe {
        (*file.cast::<File>()).state = state;
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once; the state came from `Box::into_raw`.
    let state = unsafe { Box::from_raw((*file.cast::<File>()).state) };
    state.shared.model().close(state.handle);
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives a buffer of `count` bytes and a file that is open.
    let (state, buffer) = unsafe { (state(file), slice::from_raw_parts_mut(into.cast::<u8>(), count as usize)) };
    let result = state.shared.model().read(state.handle, buffer, offset as usize);
    match result {
        Ok(read) if read == buffer.len() => ffi::SQLITE_OK,
        Ok(read) => {
            buffer[read..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(refused) => code(Err(refused), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives a buffer of `count` bytes and a file that is open.
    let (state, data) = unsafe { (state(file), slice::from_raw_parts(from.cast::<u8>(), count as usize)) };
    let result = state.shared.model().write(state.handle, data, offset as usize);
    code(result, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().truncate(state.handle, size as usize);
    code(result, ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().sync(state.handle);
    code(result, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().file_size(state.handle);
    // SAFETY: SQLite gives a place for the size.
    unsafe { *size = result.unwrap_or_default() as i64 };
    code(result.map(drop), ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().lock(state.handle, Level::of(level));
    code(result, ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().unlock(state.handle, Level::of(level));
    code(result, ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, reserved: *mut c_int) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().is_reserved(state.handle);
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *reserved = c_int::from(result.unwrap_or_default()) };
    code(result.map(drop), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _what: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector(_file: *mut ffi::sqlite3_file) -> c_int {
    sector_size()
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    size: c_int,
    extend: c_int,
    region: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let result = state.shared.model().file_size(state.handle);
    let State { shared, name, memory, .. } = state;
    let memory = memory.get_or_insert_with(|| shared.memory(name));
    let found = result.ok().and_then(|_| memory.region(index as usize, size as usize, extend != 0));
    // SAFETY: SQLite gives a place for the pointer. The region lives as long as the state holds the memory, which is
    // until it is unmapped; a region is never moved.
    unsafe { *region = found.unwrap_or(ptr::null_mut()) };
    code(result.map(drop), ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    debug_assert!(first >= 0 && count >= 1 && first + count <= SLOTS, "SQLite locks the slots that there are");
    let mask = ((1_u16 << count) - 1) << first;
    let slot = if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        Slot::Free
    } else if flags & ffi::SQLITE_SHM_SHARED != 0 {
        Slot::Shared
    } else {
        Slot::Exclusive
    };
    let result = state.shared.model().lock_slots(state.handle, mask, slot);
    code(result, ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: the file is open, and SQLite uses its regions no more.
    unsafe { state(file) }.memory = None;
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, syncs_directory: c_int) -> c_int {
    // SAFETY: SQLite calls with the VFS of an open connection, and a name that ends with a zero.
    let (disk, name) = unsafe { (shared(vfs), text(name)) };
    match disk.model().delete(name, syncs_directory & 1 != 0) {
        Err(Refused::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        result => code(result, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls with the VFS of an open connection, a name that ends with a zero, and a place for the answer.
    unsafe { *answer = c_int::from(shared(vfs).model().exists(text(name))) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    full: *mut c_char,
) -> c_int {
    // SAFETY: the name ends with a zero.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if bytes.len() > size as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: the place has `size` bytes, and does not overlap with the name.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), full, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(vfs: *mut ffi::sqlite3_vfs, count: c_int, into: *mut c_char) -> c_int {
    // SAFETY: SQLite calls with a VFS that is registered, and a place for `count` bytes.
    let (disk, buffer) = unsafe { (shared(vfs), slice::from_raw_parts_mut(into.cast::<u8>(), count as usize)) };
    let mut model = disk.model();
    for chunk in buffer.chunks_mut(8) {
        chunk.copy_from_slice(&model.noise().to_le_bytes()[..chunk.len()]);
    }
    count
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, us: c_int) -> c_int {
    // SAFETY: SQLite calls with the VFS of an open connection.
    unsafe { shared(vfs) }.model().sleep(us as u64);
    us
}

unsafe extern "C" fn current_time_ms(vfs: *mut ffi::sqlite3_vfs, now: *mut i64) -> c_int {
    // SAFETY: SQLite calls with the VFS of an open connection, and a place for the time.
    unsafe { *now = UNIX_EPOCH_JULIAN_MS + ((EPOCH_US + shared(vfs).model().now_us) / 1_000) as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, now: *mut f64) -> c_int {
    let mut ms = 0;
    // SAFETY: as for the other form; the place is for a number of days.
    unsafe {
        current_time_ms(vfs, &raw mut ms);
        *now = ms as f64 / 86_400_000.0;
    }
    ffi::SQLITE_OK
}
