//! The form of a response in Redis.
//!
//! The bytes begin with the version of the form and the key of the response, so that a value of another program, of
//! another release or of another key is not taken for it. Numbers are little-endian, and each length is checked
//! against what is there before anything is allocated. Tensors are made by the constructor that checks their bytes.
//! Any other bytes under a key are no response; decoding never fails in another way.

use crate::response_cache::key::CacheKey;
use bytes::Bytes;
use wisp_protocol::call::InferResponse;
use wisp_tensor::response_names::check_response_names;
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::{ElementType, NamedTensor, Parameter, ParameterValue, Shape, Tensor};

/// The name and the version of the form.
const FORM: &[u8] = b"wisp response 1\n";

/// Returns the bytes of a response; `None` if one of its lengths is beyond the form.
pub(super) fn encode(key: &CacheKey, response: &InferResponse) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(response.content_bytes().saturating_add(256));
    bytes.extend_from_slice(FORM);
    bytes.extend_from_slice(key.as_bytes());
    put_length(&mut bytes, response.outputs.len())?;
    for output in &response.outputs {
        put_part(&mut bytes, output.name.as_bytes())?;
        let tensor = &output.tensor;
        put_part(&mut bytes, tensor.element_type().name().as_bytes())?;
        let dimensions = tensor.shape().dimensions();
        put_length(&mut bytes, dimensions.len())?;
        for size in dimensions {
            bytes.extend_from_slice(&size.to_le_bytes());
        }
        put_part(&mut bytes, tensor.content())?;
    }
    put_length(&mut bytes, response.parameters.len())?;
    for parameter in &response.parameters {
        put_part(&mut bytes, parameter.name.as_bytes())?;
        match &parameter.value {
            ParameterValue::Bool(value) => bytes.extend_from_slice(&[b'b', u8::from(*value)]),
            ParameterValue::Int64(value) => put_number(&mut bytes, b'i', value.to_le_bytes()),
            ParameterValue::Uint64(value) => put_number(&mut bytes, b'u', value.to_le_bytes()),
            ParameterValue::Double(value) => put_number(&mut bytes, b'd', value.to_le_bytes()),
            ParameterValue::String(value) => {
                bytes.push(b's');
                put_part(&mut bytes, value.as_bytes())?;
            }
        }
    }
    Some(bytes)
}

fn put_length(bytes: &mut Vec<u8>, length: usize) -> Option<()> {
    let length = u32::try_from(length).ok()?;
    bytes.extend_from_slice(&length.to_le_bytes());
    Some(())
}

fn put_part(bytes: &mut Vec<u8>, part: &[u8]) -> Option<()> {
    put_length(bytes, part.len())?;
    bytes.extend_from_slice(part);
    Some(())
}

fn put_number(bytes: &mut Vec<u8>, tag: u8, number: [u8; 8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&number);
}

/// Returns the response in these bytes, which share their memory with it; `None` if they are not the response of
/// this key.
pub(super) fn decode(key: &CacheKey, bytes: Bytes) -> Option<InferResponse> {
    let mut rest = Rest { bytes };
    if rest.take(FORM.len())? != FORM || rest.take(key.as_bytes().len())? != key.as_bytes()[..] {
        return None;
    }
    let mut outputs = Vec::new();
    for _ in 0..rest.length()? {
        let name = rest.text()?;
        let element_type = ElementType::from_name(&rest.text()?)?;
        let rank = rest.length().filter(|rank| *rank <= MAX_RANK)?;
        let mut dimensions = Vec::with_capacity(rank);
        for _ in 0..rank {
            dimensions.push(rest.number()?);
        }
        let shape = Shape::new(dimensions).ok()?;
        let content = rest.part()?;
        let tensor = Tensor::new(element_type, shape, content).ok()?;
        outputs.push(NamedTensor { name, tensor });
    }
    let mut parameters = Vec::new();
    for _ in 0..rest.length()? {
        let name = rest.text()?;
        let value = rest.value()?;
        parameters.push(Parameter { name, value });
    }
    let output_names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    let is_complete = rest.bytes.is_empty();
    if !is_complete || check_response_names(&output_names, &names).is_err() {
        return None;
    }
    Some(InferResponse {
        outputs,
        parameters,
    })
}

/// The bytes that have not been read.
struct Rest {
    bytes: Bytes,
}

impl Rest {
    /// Returns the next bytes, if there are as many.
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.bytes.len()).then(|| self.bytes.split_to(length))
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_le_bytes(bytes[..].try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn part(&mut self) -> Option<Bytes> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.part()?.to_vec()).ok()
    }

    fn eight(&mut self) -> Option<[u8; 8]> {
        self.take(8)?[..].try_into().ok()
    }

    fn value(&mut self) -> Option<ParameterValue> {
        let tag = self.take(1)?;
        Some(match &tag[..] {
            b"b" => ParameterValue::Bool(self.take(1)?[..] != [0]),
            b"i" => ParameterValue::Int64(i64::from_le_bytes(self.eight()?)),
            b"u" => ParameterValue::Uint64(u64::from_le_bytes(self.eight()?)),
            b"d" => ParameterValue::Double(f64::from_le_bytes(self.eight()?)),
            b"s" => ParameterValue::String(self.text()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_cache::policy::CachePolicy;
    use crate::tenants::tenant_id::TenantId;
    use std::time::Duration;
    use wisp_protocol::call::InferRequest;

    async fn key(number: u8) -> CacheKey {
        let policy = CachePolicy {
            identity: [number; 32],
            ttl: Duration::from_secs(1),
        };
        let request = InferRequest {
            inputs: Vec::new(),
            parameters: Vec::new(),
            outputs: Vec::new(),
            scheduling: Default::default(),
        };
        CacheKey::of(&TenantId::local(), &policy, &request).await
    }

    fn response() -> InferResponse {
        let shape = |sizes: &[u32]| Shape::new(sizes.to_vec()).unwrap();
        let numbers = Bytes::from(vec![1; 24]);
        let texts = Tensor::from_elements([b"ab".as_slice(), b""].into_iter()).unwrap();
        let value = |name: &str, value| Parameter {
            name: name.to_owned(),
            value,
        };
        InferResponse {
            outputs: vec![
                NamedTensor {
                    name: "y".to_owned(),
                    tensor: Tensor::new(ElementType::Fp32, shape(&[2, 3]), numbers).unwrap(),
                },
                NamedTensor {
                    name: "é".to_owned(),
                    tensor: texts,
                },
                NamedTensor {
                    name: "scalar".to_owned(),
                    tensor: Tensor::new(ElementType::Bool, shape(&[]), Bytes::from_static(&[1]))
                        .unwrap(),
                },
            ],
            parameters: vec![
                value("a", ParameterValue::Bool(true)),
                value("b", ParameterValue::Int64(-5)),
                value("c", ParameterValue::Uint64(u64::MAX)),
                value("d", ParameterValue::Double(1.5)),
                value("e", ParameterValue::String("text".to_owned())),
            ],
        }
    }

    #[tokio::test]
    async fn a_response_survives_its_form() {
        let key = key(1).await;
        let empty = InferResponse {
            outputs: Vec::new(),
            parameters: Vec::new(),
        };
        for response in [response(), empty] {
            let bytes = encode(&key, &response).unwrap();
            assert_eq!(decode(&key, bytes.into()), Some(response));
        }
    }

    #[tokio::test]
    async fn a_value_of_another_key_or_form_is_no_response() {
        let key_of_it = key(1).await;
        let bytes = encode(&key_of_it, &response()).unwrap();
        assert_eq!(decode(&key(2).await, bytes.clone().into()), None);
        let mut later = bytes.clone();
        later[14] = b'2';
        assert_eq!(decode(&key_of_it, later.into()), None);
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(decode(&key_of_it, longer.into()), None);
        assert_eq!(decode(&key_of_it, Bytes::from_static(b"OK")), None);
        assert_eq!(decode(&key_of_it, Bytes::new()), None);
    }

    #[tokio::test]
    async fn a_truncated_value_is_no_response() {
        let key = key(1).await;
        let bytes = Bytes::from(encode(&key, &response()).unwrap());
        for length in 0..bytes.len() {
            assert_eq!(decode(&key, bytes.slice(..length)), None, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn no_byte_makes_decoding_panic_or_a_tensor_wrong() {
        let key = key(1).await;
        let bytes = encode(&key, &response()).unwrap();
        for position in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut poisoned = bytes.clone();
                poisoned[position] ^= change;
                let Some(decoded) = decode(&key, poisoned.into()) else {
                    continue;
                };
                for output in decoded.outputs {
                    let tensor = output.tensor;
                    let (kind, shape) = (tensor.element_type(), tensor.shape().clone());
                    let checked = Tensor::new(kind, shape, tensor.content().clone());
                    assert_eq!(checked.ok(), Some(tensor), "byte {position}");
                }
            }
        }
    }

    #[tokio::test]
    async fn huge_lengths_allocate_nothing() {
        let key = key(1).await;
        let mut bytes = FORM.to_vec();
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&key, bytes.clone().into()), None);
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&key, bytes.into()), None);
    }
}
