//! The regions of shared memory, of which there are none; `v2::shared_memory` gives the reason.

use crate::codec::CodecError;
use crate::grpc::message::inference::{
    CudaSharedMemoryStatusRequest, CudaSharedMemoryStatusResponse, SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse,
};
use crate::v2::{SharedMemory, UnknownRegion};

/// Returns the regions of system memory, or an error if the message names one.
pub fn system_shared_memory_status(
    message: &SystemSharedMemoryStatusRequest,
) -> Result<SystemSharedMemoryStatusResponse, CodecError> {
    check(SharedMemory::System, &message.name)?;
    Ok(SystemSharedMemoryStatusResponse::default())
}

/// Returns the regions of GPU memory, or an error if the message names one.
pub fn cuda_shared_memory_status(
    message: &CudaSharedMemoryStatusRequest,
) -> Result<CudaSharedMemoryStatusResponse, CodecError> {
    check(SharedMemory::Cuda, &message.name)?;
    Ok(CudaSharedMemoryStatusResponse::default())
}

fn check(memory: SharedMemory, region: &str) -> Result<(), UnknownRegion> {
    match region {
        "" => Ok(()),
        region => Err(UnknownRegion::new(memory, region)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_list_of_regions_is_empty_and_a_named_one_is_not_found() {
        let all = system_shared_memory_status(&Default::default());
        assert_eq!(all, Ok(SystemSharedMemoryStatusResponse::default()));
        let all = cuda_shared_memory_status(&Default::default());
        assert_eq!(all, Ok(CudaSharedMemoryStatusResponse::default()));
        let name = "r".to_owned();
        let named = system_shared_memory_status(&SystemSharedMemoryStatusRequest { name });
        assert_eq!(
            named.map_err(|error| error.kind()),
            Err(ErrorKind::NotFound)
        );
    }
}
