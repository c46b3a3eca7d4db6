//! The device that computes a graph: the CPU or one of the GPUs.

use std::fmt;
use std::str::FromStr;

/// The device that computes a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this index, in the order of CUDA.
    Cuda(u32),
}

/// The error for a string that is not the name of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device, expected `cpu`, or `cuda:0` for the first GPU")]
pub struct UnknownDevice(String);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Device, UnknownDevice> {
        let index = |text: &str| text.parse().map(Device::Cuda).ok();
        match text {
            "cpu" => Some(Device::Cpu),
            "cuda" => Some(Device::Cuda(0)),
            // `parse` would accept a plus sign.
            _ => match text.strip_prefix("cuda:") {
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => index(digits),
                _ => None,
            },
        }
        .ok_or_else(|| UnknownDevice(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(7)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for text in [
            "",
            "gpu",
            "cuda:",
            "cuda:+1",
            "cuda:-1",
            "CPU",
            "cuda:4294967296",
        ] {
            assert_eq!(Device::from_str(text), Err(UnknownDevice(text.to_owned())));
        }
    }
}
