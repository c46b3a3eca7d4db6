//! Calls of ONNX Runtime's C interface that the binding lacks or makes in an unsuitable way.
//!
//! The binding's own `run` needs exclusive access to a session, and its tensors need typed slices. Here a
//! session is shared by all its users without a lock, inputs are lent, outputs are shared, other threads
//! can end a run, and all runs allocate from one arena with a size limit.
//!
//! Invariant: this module does not depend on models or requests.

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

/// An owned value of the library, which is released on drop.
#[derive(Debug)]
pub(super) struct Value(NonNull<sys::OrtValue>);

/// The options of one run, through which the run can be ended early.
#[derive(Debug)]
pub(super) struct RunOptions(NonNull<sys::OrtRunOptions>);

/// Converts the status of a C call to a result.
#[expect(
    unsafe_code,
    reason = "statuses are the library's to make and ours to release"
)]
fn checked(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: every caller passes a status that the library has just returned, and passes it once.
    unsafe { ort::Error::result_from_status(status) }
}

/// Returns the value at an address that the library has written.
fn made(value: *mut sys::OrtValue) -> ort::Result<Value> {
    NonNull::new(value)
        .map(Value)
        .ok_or_else(|| ort::Error::new("the library gave no value"))
}

impl Value {
    /// Returns a tensor of the numbers at `content`. The caller keeps them there, unchanged and aligned
    /// for their type, as long as the value is used.
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
        // SAFETY: all pointers come from live references and are passed with their lengths, and the
        // library checks that length, shape and type agree. The call takes a mutable pointer, but the
        // library never writes to the inputs of a run.
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

    /// Returns a tensor of empty strings.
    #[expect(
        unsafe_code,
        reason = "the binding's strings end at a zero byte and must be UTF-8"
    )]
    pub(super) fn new_texts(shape: &[i64]) -> ort::Result<Value> {
        let mut value = null_mut();
        let allocator = Allocator::default();
        // SAFETY: all pointers come from live references, and the shape is passed with its length. The
        // default allocator belongs to the library and is never released.
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

    /// Sets one string of a tensor of strings.
    #[expect(
        unsafe_code,
        reason = "the binding's strings end at a zero byte and must be UTF-8"
    )]
    pub(super) fn write_string(&mut self, index: usize, text: &[u8]) -> ort::Result<()> {
        let mut room: *mut c_char = null_mut();
        // SAFETY: the value is live; the library checks the index and that this is a tensor of strings.
        let status = unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(
                self.0.as_ptr(),
                index,
                text.len(),
                &mut room,
            )
        };
        checked(status)?;
        // SAFETY: the library has allocated this many bytes at the address, which no other code accesses.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), room.cast(), text.len()) };
        Ok(())
    }

    /// Returns the element type of a tensor and its size along each axis.
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    pub(super) fn type_and_shape(&self) -> ort::Result<(TensorElementType, Vec<i64>)> {
        let api = ort::api();
        let mut is_tensor = 0;
        // SAFETY: the value is live, and the result is written to a live variable.
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
        // SAFETY: the library has just created `facts`.
        let status = unsafe { (api.GetTensorElementType)(facts, &mut element_type) };
        let result = checked(status)
            // SAFETY: as above.
            .and_then(|()| checked(unsafe { (api.GetDimensionsCount)(facts, &mut rank) }))
            .and_then(|()| {
                let mut shape = vec![0; rank];
                // SAFETY: as above, and the shape has room for the stated number of sizes.
                checked(unsafe { (api.GetDimensions)(facts, shape.as_mut_ptr(), rank) })?;
                Ok((element_type.into(), shape))
            });
        // SAFETY: it is owned here and not used any more.
        unsafe { (api.ReleaseTensorTypeAndShapeInfo)(facts) };
        result
    }

    /// Returns the memory of a tensor of numbers, which has `length` bytes.
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    pub(super) fn content(&self, length: usize) -> ort::Result<&[u8]> {
        let mut address: *mut c_void = null_mut();
        // SAFETY: the value is live, and the result is written to a live variable.
        checked(unsafe { (ort::api().GetTensorMutableData)(self.0.as_ptr(), &mut address) })?;
        if address.is_null() || length == 0 {
            return Ok(&[]);
        }
        // SAFETY: a tensor is dense, so its shape and type determine the number of bytes at the address,
        // and the caller has computed `length` from them. The bytes live as long as the value. They are
        // not written any more, since the run that wrote them is over.
        Ok(unsafe { std::slice::from_raw_parts(address.cast(), length) })
    }

    /// Returns the elements of a tensor of `count` strings, in the layout of BYTES.
    #[expect(unsafe_code, reason = "the binding's strings must be UTF-8")]
    pub(super) fn read_texts(&self, count: usize) -> ort::Result<Bytes> {
        let mut length = 0;
        // SAFETY: the value is live, and the result is written to a live variable; the library checks
        // that this is a tensor of strings.
        let status =
            unsafe { (ort::api().GetStringTensorDataLength)(self.0.as_ptr(), &mut length) };
        checked(status)?;
        let mut joined = vec![0u8; length];
        let mut starts = vec![0usize; count];
        // SAFETY: both buffers have the stated lengths.
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
        // SAFETY: the value is owned exclusively, and this is its last use.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

#[expect(
    unsafe_code,
    reason = "answers are dropped on other threads than they are computed on"
)]
// SAFETY: a value is not tied to a thread: the library creates, reads and releases values on any of them.
unsafe impl Send for Value {}
#[expect(unsafe_code, reason = "several answers may hold parts of one value")]
// SAFETY: shared values are only read.
unsafe impl Sync for Value {}

impl RunOptions {
    /// Returns options of a run that is not ended early.
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    pub(super) fn new() -> ort::Result<RunOptions> {
        let mut options = null_mut();
        // SAFETY: the result is written to a live variable.
        checked(unsafe { (ort::api().CreateRunOptions)(&mut options) })?;
        let options = NonNull::new(options).map(RunOptions);
        options.ok_or_else(|| ort::Error::new("the library gave no options"))
    }

    /// Makes the arena release its unused memory after the run.
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    pub(super) fn with_shrinking(self) -> ort::Result<RunOptions> {
        let (key, value) = (c"memory.enable_memory_arena_shrinkage", c"cpu:0");
        let pointer = self.0.as_ptr();
        // SAFETY: the options are not shared yet, and both strings end with a zero byte.
        checked(unsafe { (ort::api().AddRunConfigEntry)(pointer, key.as_ptr(), value.as_ptr()) })?;
        Ok(self)
    }

    /// Ends the runs that use these options, before their next operator.
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    pub(super) fn terminate(&self) {
        // SAFETY: the options are live, and the library's interface allows this call from other
        // threads while they are in use.
        let status = unsafe { (ort::api().RunOptionsSetTerminate)(self.0.as_ptr()) };
        // The call only sets a flag and cannot fail.
        let _ = checked(status);
    }
}

impl Drop for RunOptions {
    #[expect(unsafe_code, reason = "the binding keeps the address to itself")]
    fn drop(&mut self) {
        // SAFETY: the options are owned exclusively, and this is their last use.
        unsafe { (ort::api().ReleaseRunOptions)(self.0.as_ptr()) };
    }
}

#[expect(unsafe_code, reason = "a run is ended by whoever waits for it")]
// SAFETY: options are not tied to a thread.
unsafe impl Send for RunOptions {}
#[expect(unsafe_code, reason = "a run is ended by whoever waits for it")]
// SAFETY: besides reads, a shared reference allows only calls that are permitted while the options are in use.
unsafe impl Sync for RunOptions {}

/// Makes all sessions of the environment that use its allocators share one arena, which grows up to `max_bytes`.
#[expect(unsafe_code, reason = "the binding has no arenas of environments")]
pub(super) fn register_arena(
    environment: &Environment,
    memory: &MemoryInfo<'static>,
    max_bytes: usize,
) -> ort::Result<()> {
    // Regions have the requested size. With doubled regions, the arena would end at half of its limit.
    const SAME_AS_REQUESTED: usize = 1;
    let entries: [(&CStr, usize); 2] = [
        (c"max_mem", max_bytes),
        (c"arena_extend_strategy", SAME_AS_REQUESTED),
    ];
    let keys = entries.map(|(key, _)| key.as_ptr());
    let values = entries.map(|(_, value)| value);
    let mut arena = null_mut();
    // SAFETY: both arrays have the stated length, the strings end with zero bytes, and the result
    // is written to a live variable.
    let status = unsafe {
        (ort::api().CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &mut arena)
    };
    checked(status)?;
    // SAFETY: all three are live; the library copies the data that it needs from them.
    let registered = checked(unsafe {
        (ort::api().CreateAndRegisterAllocator)(environment.ptr().cast_mut(), memory.ptr(), arena)
    });
    // SAFETY: it is owned here and not used any more.
    unsafe { (ort::api().ReleaseArenaCfg)(arena) };
    registered
}

/// Makes the session under construction take its initializer called `name` from `value`. The caller keeps
/// the numbers in place as long as the session lives.
#[expect(unsafe_code, reason = "the binding takes values of its own only")]
pub(super) fn add_initializer(
    builder: &mut SessionBuilder,
    name: &CStr,
    value: &Value,
) -> ort::Result<()> {
    let (name, value) = (name.as_ptr(), value.0.as_ptr().cast_const());
    // SAFETY: each array has one element, and both pointers are live; the library shares the value.
    checked(unsafe {
        (ort::api().AddExternalInitializers)(builder.ptr().cast_mut(), &name, &value, 1)
    })
}

/// Runs the session. Outputs that are optional in the graph may be absent.
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
    // SAFETY: names and values live until the end of this function, in arrays of the stated lengths.
    // Running does not change the session: the library's interface allows many threads to call `Run` at
    // the same time, also for one session, and its own servers do. (The binding requires `&mut` because
    // some execution providers once violated that; those used here, for CPUs and CUDA, do not.)
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
    // The outputs that the run has written are owned here, even if it failed later.
    let outputs = outputs
        .into_iter()
        .map(|value| NonNull::new(value).map(Value))
        .collect();
    checked(status)?;
    Ok(outputs)
}
