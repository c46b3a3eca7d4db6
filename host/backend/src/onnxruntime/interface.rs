//! The calls of ONNX Runtime's C interface that the binding does not make, or not in the way that is needed.
//!
//! The binding's own `run` wants a session for itself and its tensors want typed slices. Here a session is
//! shared by all its users without a lock, inputs are lent, outputs are shared, runs can be ended by others,
//! and all runs allocate from one arena, which has an end.
//!
//! Invariant: nothing here knows what a model or a request is.

use bytes::{BufMut, Bytes, BytesMut};
use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::sys;
use ort::value::TensorElementType;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{NonNull, null_mut};

/// A value of the library that is ours to release.
#[derive(Debug)]
pub(super) struct Value(NonNull<sys::OrtValue>);

/// How one run is made, and what ends it early.
#[derive(Debug)]
pub(super) struct RunOptions(NonNull<sys::OrtRunOptions>);

/// The result that a call of the C interface reports.
#[expect(
    unsafe_code,
    reason = "statuses are the library's to make and ours to release"
)]
fn checked(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: all callers hand on what the library has just returned, once.
    unsafe { ort::Error::result_from_status(status) }
}

/// The value at an address that the library has written.
fn made(value: *mut sys::OrtValue) -> ort::Result<Value> {
    NonNull::new(value)
        .map(Value)
        .ok_or_else(|| ort::Error::new("the library gave no value"))
}

impl Value {
    /// A tensor of the numbers at `content`, which the caller keeps there, unchanged and aligned for
    /// their type, for as long as the value is used.
    #[expect(
        unsafe_code,
        reason = "the binding lends typed slices only, and tensors are bytes"
    )]
    pub(super) fn lend(
        content: &[u8],
        shape: &[i64],
        element_type: TensorElementType,
        memory: &MemoryInfo<'static>,
    ) -> ort::Result<Value> {
        let mut value = null_mut();
        // SAFETY: all pointers are of live references, with their lengths beside them, and the library checks
        // that length, shape and type agree. It takes a pointer to change through, but never writes to what a
        // run is given.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                memory.ptr(),
                content.as_ptr().cast_mut().cast(),
                content.len(),
                shape.as_ptr(),
                shape.len(),
                element_type.into(),
                &mut value,
            )
        };
        checked(status)?;
        made(value)
    }

    /// A tensor of empty texts.
    #[expect(
        unsafe_code,
        reason = "the binding's texts end at a zero byte and must be UTF-8"
    )]
    pub(super) fn new_texts(shape: &[i64]) -> ort::Result<Value> {
        let mut value = null_mut();
        let allocator = Allocator::default();
        // SAFETY: all pointers are of live references, with the shape's length beside it. The default
        // allocator is the library's own and stays.
        let status = unsafe {
            (ort::api().CreateTensorAsOrtValue)(
                allocator.ptr().cast_mut(),
                shape.as_ptr(),
                shape.len(),
                TensorElementType::String.into(),
                &mut value,
            )
        };
        checked(status)?;
        made(value)
    }

    /// Set one text of a tensor of texts.
    #[expect(
        unsafe_code,
        reason = "the binding's texts end at a zero byte and must be UTF-8"
    )]
    pub(super) fn write_text(&mut self, index: usize, text: &[u8]) -> ort::Result<()> {
        let mut room: *mut c_char = null_mut();
        // SAFETY: the value lives; the library checks the index, and that these are texts.
        let status = unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(
                self.0.as_ptr(),
                index,
                text.len(),
                &mut room,
            )
        };
        checked(status)?;
        // SAFETY: the library has made room for so many bytes there, which nobody else knows of.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), room.cast(), text.len()) };
        Ok(())
    }

    /// What a tensor is of, and its sizes per axis.
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    pub(super) fn type_and_shape(&self) -> ort::Result<(TensorElementType, Vec<i64>)> {
        let api = ort::api();
        let mut is_tensor = 0;
        // SAFETY: the value lives, and the result is written to a live variable.
        checked(unsafe { (api.IsTensor)(self.0.as_ptr(), &mut is_tensor) })?;
        if is_tensor == 0 {
            return Err(ort::Error::new("it is no tensor"));
        }
        let mut facts = null_mut();
        // SAFETY: as above, and it is a tensor.
        checked(unsafe { (api.GetTensorTypeAndShape)(self.0.as_ptr(), &mut facts) })?;
        let mut element_type =
            sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        let mut rank = 0;
        // SAFETY: the library has just made `facts`.
        let status = unsafe { (api.GetTensorElementType)(facts, &mut element_type) };
        let result = checked(status)
            // SAFETY: the same.
            .and_then(|()| checked(unsafe { (api.GetDimensionsCount)(facts, &mut rank) }))
            .and_then(|()| {
                let mut shape = vec![0; rank];
                // SAFETY: the same, and the shape has room for as many sizes as are said.
                checked(unsafe { (api.GetDimensions)(facts, shape.as_mut_ptr(), rank) })?;
                Ok((element_type.into(), shape))
            });
        // SAFETY: it is ours, and not used any more.
        unsafe { (api.ReleaseTensorTypeAndShapeInfo)(facts) };
        result
    }

    /// The memory of a tensor of numbers, which takes `length` bytes.
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    pub(super) fn content(&self, length: usize) -> ort::Result<&[u8]> {
        let mut address: *mut c_void = null_mut();
        // SAFETY: the value lives, and the result is written to a live variable.
        checked(unsafe { (ort::api().GetTensorMutableData)(self.0.as_ptr(), &mut address) })?;
        if address.is_null() || length == 0 {
            return Ok(&[]);
        }
        // SAFETY: a tensor is dense, so its shape and type say how many bytes begin there, and the caller has
        // reckoned `length` from them. They live as long as the value; nobody writes to them, since the run
        // that did is over.
        Ok(unsafe { std::slice::from_raw_parts(address.cast(), length) })
    }

    /// The elements of a tensor of `count` texts, in the layout of BYTES.
    #[expect(unsafe_code, reason = "the binding's texts must be UTF-8")]
    pub(super) fn read_texts(&self, count: usize) -> ort::Result<Bytes> {
        let mut length = 0;
        // SAFETY: the value lives, and the result is written to a live variable; the library checks that these
        // are texts.
        let status =
            unsafe { (ort::api().GetStringTensorDataLength)(self.0.as_ptr(), &mut length) };
        checked(status)?;
        let mut joined = vec![0u8; length];
        let mut starts = vec![0usize; count];
        // SAFETY: both places are as long as is said.
        let status = unsafe {
            (ort::api().GetStringTensorContent)(
                self.0.as_ptr(),
                joined.as_mut_ptr().cast(),
                joined.len(),
                starts.as_mut_ptr(),
                starts.len(),
            )
        };
        checked(status)?;
        let mut content = BytesMut::with_capacity(length.saturating_add(4 * count));
        let ends = starts.iter().skip(1).copied().chain([length]);
        for (&start, end) in starts.iter().zip(ends) {
            let text = joined.get(start..end).unwrap_or_default();
            let size = u32::try_from(text.len()).map_err(ort::Error::wrap)?;
            content.put_u32_le(size);
            content.put_slice(text);
        }
        Ok(content.freeze())
    }
}

impl Drop for Value {
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    fn drop(&mut self) {
        // SAFETY: it is ours alone, and this is its last use.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

#[expect(
    unsafe_code,
    reason = "answers are dropped on other threads than they are computed on"
)]
// SAFETY: a value has no tie to a thread: the library makes, reads and releases values on any of them.
unsafe impl Send for Value {}
#[expect(unsafe_code, reason = "several answers may hold parts of one value")]
// SAFETY: what is shared is only read.
unsafe impl Sync for Value {}

impl RunOptions {
    /// Options of a run that nobody ends.
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    pub(super) fn new() -> ort::Result<RunOptions> {
        let mut options = null_mut();
        // SAFETY: the result is written to a live variable.
        checked(unsafe { (ort::api().CreateRunOptions)(&mut options) })?;
        let options = NonNull::new(options).map(RunOptions);
        options.ok_or_else(|| ort::Error::new("the library gave no options"))
    }

    /// The same, with the arena giving back after the run what nobody uses.
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    pub(super) fn with_shrinking(self) -> ort::Result<RunOptions> {
        let (key, value) = (c"memory.enable_memory_arena_shrinkage", c"cpu:0");
        let pointer = self.0.as_ptr();
        // SAFETY: the options are ours alone yet, and both texts end at a zero byte.
        checked(unsafe { (ort::api().AddRunConfigEntry)(pointer, key.as_ptr(), value.as_ptr()) })?;
        Ok(self)
    }

    /// End the runs that have these options, before their next operator.
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    pub(super) fn terminate(&self) {
        // SAFETY: the options live, and the library's interface says that this may be called by others while
        // they are used.
        let status = unsafe { (ort::api().RunOptionsSetTerminate)(self.0.as_ptr()) };
        // It cannot fail: it sets a flag.
        let _ = checked(status);
    }
}

impl Drop for RunOptions {
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    fn drop(&mut self) {
        // SAFETY: they are ours, and this is their last use.
        unsafe { (ort::api().ReleaseRunOptions)(self.0.as_ptr()) };
    }
}

#[expect(unsafe_code, reason = "a run is ended by whoever waits for it")]
// SAFETY: options have no tie to a thread.
unsafe impl Send for RunOptions {}
#[expect(unsafe_code, reason = "a run is ended by whoever waits for it")]
// SAFETY: besides reading them, a shared reference allows only what may be done while they are used.
unsafe impl Sync for RunOptions {}

/// Let all sessions of the environment that ask for its allocators share one arena, which grows up to
/// `max_bytes`.
#[expect(unsafe_code, reason = "the binding has no arenas of environments")]
pub(super) fn register_arena(
    environment: &Environment,
    memory: &MemoryInfo<'static>,
    max_bytes: usize,
) -> ort::Result<()> {
    // Regions as large as what is asked for: with doubled ones the arena ends at half of what it may have.
    const SAME_AS_REQUESTED: usize = 1;
    let entries: [(&CStr, usize); 2] = [
        (c"max_mem", max_bytes),
        (c"arena_extend_strategy", SAME_AS_REQUESTED),
    ];
    let keys = entries.map(|(key, _)| key.as_ptr());
    let values = entries.map(|(_, value)| value);
    let mut arena = null_mut();
    // SAFETY: both lists are as long as is said, the texts end at zero bytes, and the result is written to a
    // live variable.
    let status = unsafe {
        (ort::api().CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &mut arena)
    };
    checked(status)?;
    // SAFETY: all three live; the library copies what it needs of them.
    let registered = checked(unsafe {
        (ort::api().CreateAndRegisterAllocator)(environment.ptr().cast_mut(), memory.ptr(), arena)
    });
    // SAFETY: it is ours, and not used any more.
    unsafe { (ort::api().ReleaseArenaCfg)(arena) };
    registered
}

/// Let the session that is built take its initializer called `name` from `value`, whose numbers the caller
/// keeps where they are for as long as the session lives.
#[expect(unsafe_code, reason = "the binding takes values of its own only")]
pub(super) fn add_initializer(
    builder: &mut SessionBuilder,
    name: &CStr,
    value: &Value,
) -> ort::Result<()> {
    let (name, value) = (name.as_ptr(), value.0.as_ptr().cast_const());
    // SAFETY: there is one of each, and both live; the library shares the value.
    checked(unsafe {
        (ort::api().AddExternalInitializers)(builder.ptr().cast_mut(), &name, &value, 1)
    })
}

/// Run the session. Of the outputs, those that are optional in the graph may be absent.
#[expect(unsafe_code, reason = "the binding allows one run at a time")]
pub(super) fn run(
    session: &Session,
    options: &RunOptions,
    (input_names, inputs): (&[CString], &[&Value]),
    output_names: &[CString],
) -> ort::Result<Vec<Option<Value>>> {
    if inputs.len() != input_names.len() {
        return Err(ort::Error::new("as many inputs as names are needed"));
    }
    let pointers = |names: &[CString]| names.iter().map(|name| name.as_ptr()).collect::<Vec<_>>();
    let (input_names, output_names) = (pointers(input_names), pointers(output_names));
    let inputs: Vec<*const sys::OrtValue> = inputs
        .iter()
        .map(|value| value.0.as_ptr().cast_const())
        .collect();
    let mut outputs: Vec<*mut sys::OrtValue> = vec![null_mut(); output_names.len()];
    // SAFETY: names and values live until the end of this function, in lists as long as is said. The session
    // is not changed by running: the library's interface says that `Run` may be called by many threads at
    // once, also for one session, and its own servers do. (The binding asks for `&mut` because some execution
    // providers once broke that promise; those here, for processors and CUDA, keep it.)
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            options.0.as_ptr(),
            input_names.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            output_names.as_ptr(),
            output_names.len(),
            outputs.as_mut_ptr(),
        )
    };
    // What the run has written is ours, also if it failed later.
    let outputs = outputs
        .into_iter()
        .map(|value| NonNull::new(value).map(Value))
        .collect();
    checked(status)?;
    Ok(outputs)
}
