//! The key of a response: a digest of everything that the response depends on.
//!
//! Two requests have the same key exactly if they are of the same tenant, select the same outputs of the same version, with
//! the same files and settings, and have the same inputs and parameters in any order. Each part is preceded by its length or number,
//! so that no two sequences of parts have the same bytes. The digest is cryptographic: no client can make
//! a request with the key of another one.

use crate::response_cache::policy::CachePolicy;
use crate::tenants::tenant_id::TenantId;
use std::fmt;
use tokio::task::yield_now;
use wisp_protocol::call::InferRequest;
use wisp_tensor::{NamedTensor, Parameter, ParameterValue};

/// The version of this form of keys. Another form must not produce equal keys.
const FORM: &[u8] = b"wisp response key 1";

/// The number of bytes that are hashed before other requests of the thread have a turn, in well under a millisecond.
const TURN_BYTES: usize = 256 << 10;

/// The key of a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey([u8; 32]);

impl CacheKey {
    /// Returns the key of the response to a tenant's `request` by the version of `policy`.
    pub(crate) async fn of(
        tenant: &TenantId,
        policy: &CachePolicy,
        request: &InferRequest,
    ) -> CacheKey {
        let mut hasher = KeyHasher {
            hasher: blake3::Hasher::new(),
        };
        hasher.part(FORM);
        // Servers without tenants share the responses of one Redis with older releases, which had no tenants.
        let tenant = match tenant.is_local() {
            true => "",
            false => tenant.as_str(),
        };
        hasher.part(tenant.as_bytes());
        hasher.part(&policy.identity);
        let mut inputs: Vec<&NamedTensor> = request.inputs.iter().collect();
        inputs.sort_by(|one, other| one.name.cmp(&other.name));
        hasher.length(inputs.len());
        for input in inputs {
            hasher.part(input.name.as_bytes());
            hasher.part(input.tensor.element_type().name().as_bytes());
            let dimensions = input.tensor.shape().dimensions();
            hasher.length(dimensions.len());
            for size in dimensions {
                hasher.hasher.update(&size.to_le_bytes());
            }
            let content = input.tensor.content();
            hasher.length(content.len());
            for turn in content.chunks(TURN_BYTES) {
                hasher.hasher.update(turn);
                if turn.len() == TURN_BYTES {
                    yield_now().await;
                }
            }
        }
        let mut parameters: Vec<&Parameter> = request.parameters.iter().collect();
        parameters.sort_by(|one, other| one.name.cmp(&other.name));
        hasher.length(parameters.len());
        for parameter in parameters {
            hasher.part(parameter.name.as_bytes());
            hasher.value(&parameter.value);
        }
        // They are in the order of the response.
        hasher.length(request.outputs.len());
        for output in &request.outputs {
            hasher.part(output.as_bytes());
        }
        CacheKey(*hasher.hasher.finalize().as_bytes())
    }

    /// Returns the bytes of the key.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Writes the key in hexadecimal digits.
impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

/// A hasher of parts that cannot be taken for each other.
struct KeyHasher {
    hasher: blake3::Hasher,
}

impl KeyHasher {
    fn part(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.hasher.update(bytes);
    }

    fn length(&mut self, length: usize) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.hasher.update(&length.to_le_bytes());
    }

    fn value(&mut self, value: &ParameterValue) {
        match value {
            ParameterValue::Bool(value) => self.tagged(b'b', &[u8::from(*value)]),
            ParameterValue::Int64(value) => self.tagged(b'i', &value.to_le_bytes()),
            ParameterValue::Uint64(value) => self.tagged(b'u', &value.to_le_bytes()),
            ParameterValue::Double(value) => self.tagged(b'd', &value.to_bits().to_le_bytes()),
            ParameterValue::String(value) => self.tagged(b's', value.as_bytes()),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.hasher.update(&[tag]);
        self.part(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use wisp_tensor::{ElementType, Shape, Tensor};

    fn local() -> TenantId {
        TenantId::local()
    }

    fn policy() -> CachePolicy {
        CachePolicy {
            identity: [7; 32],
            ttl: Duration::from_secs(1),
        }
    }

    fn input(name: &str, element_type: ElementType, shape: &[u32]) -> NamedTensor {
        let shape = Shape::new(shape.to_vec()).unwrap();
        let bytes = shape.elements() * element_type.size().unwrap();
        NamedTensor {
            name: name.to_owned(),
            tensor: Tensor::new(element_type, shape, Bytes::from(vec![1; bytes])).unwrap(),
        }
    }

    fn parameter(name: &str, value: ParameterValue) -> Parameter {
        Parameter {
            name: name.to_owned(),
            value,
        }
    }

    fn request() -> InferRequest {
        InferRequest {
            inputs: vec![
                input("a", ElementType::Fp32, &[2, 3]),
                input("b", ElementType::Int64, &[1]),
            ],
            parameters: vec![
                parameter("p", ParameterValue::Int64(1)),
                parameter("q", ParameterValue::String("x".to_owned())),
            ],
            outputs: vec!["y".to_owned(), "z".to_owned()],
            scheduling: Default::default(),
        }
    }

    fn empty() -> InferRequest {
        InferRequest {
            inputs: Vec::new(),
            parameters: Vec::new(),
            outputs: Vec::new(),
            scheduling: Default::default(),
        }
    }

    #[tokio::test]
    async fn inputs_and_parameters_have_no_order() {
        let mut other = request();
        other.inputs.reverse();
        other.parameters.reverse();
        let policy = policy();
        let key = CacheKey::of(&local(), &policy, &request()).await;
        assert_eq!(CacheKey::of(&local(), &policy, &other).await, key);
    }

    #[tokio::test]
    async fn everything_that_can_change_a_response_changes_the_key() {
        let mut others = vec![request(), empty()];
        let mut change = |change: &dyn Fn(&mut InferRequest)| {
            let mut other = request();
            change(&mut other);
            others.push(other);
        };
        change(&|other| other.outputs.reverse());
        change(&|other| other.outputs.clear());
        change(&|other| other.outputs = vec!["yz".to_owned()]);
        change(&|other| other.inputs.truncate(1));
        change(&|other| other.inputs[0] = input("a", ElementType::Fp32, &[3, 2]));
        change(&|other| other.inputs[0] = input("a", ElementType::Fp32, &[6]));
        change(&|other| other.inputs[0] = input("a", ElementType::Int32, &[2, 3]));
        change(&|other| other.inputs[0] = input("c", ElementType::Fp32, &[2, 3]));
        change(&|other| other.parameters.clear());
        change(&|other| other.parameters[0].value = ParameterValue::Uint64(1));
        change(&|other| other.parameters[0].value = ParameterValue::Bool(true));
        change(&|other| other.parameters[0].value = ParameterValue::Double(1.0));
        change(&|other| other.parameters[0].name = "r".to_owned());
        change(&|other| {
            let mut content = other.inputs[0].tensor.content().to_vec();
            content[23] = 2;
            let shape = other.inputs[0].tensor.shape().clone();
            let tensor = Tensor::new(ElementType::Fp32, shape, Bytes::from(content));
            other.inputs[0].tensor = tensor.unwrap();
        });
        let mut keys = Vec::new();
        for other in &others {
            let key = CacheKey::of(&local(), &policy(), other).await;
            assert!(!keys.contains(&key), "{other:?}");
            keys.push(key);
        }
        let reloaded = CachePolicy {
            identity: [8; 32],
            ..policy()
        };
        assert!(!keys.contains(&CacheKey::of(&local(), &reloaded, &request()).await));
    }

    #[tokio::test]
    async fn the_same_request_of_another_tenant_has_another_key() -> anyhow::Result<()> {
        let mut keys = Vec::new();
        for tenant in ["local", "acme", "acme-2"] {
            let tenant: TenantId = tenant.parse()?;
            let key = CacheKey::of(&tenant, &policy(), &request()).await;
            assert!(!keys.contains(&key), "{tenant}");
            keys.push(key);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_large_input_is_hashed_to_its_end() {
        let large = |last: u8| {
            let mut content = vec![0; 3 * TURN_BYTES + 5];
            *content.last_mut().unwrap() = last;
            let shape = Shape::new(vec![u32::try_from(content.len()).unwrap()]).unwrap();
            let tensor = Tensor::new(ElementType::Uint8, shape, Bytes::from(content)).unwrap();
            let mut request = empty();
            request.inputs.push(NamedTensor {
                name: "x".to_owned(),
                tensor,
            });
            request
        };
        let policy = policy();
        let one = CacheKey::of(&local(), &policy, &large(1)).await;
        assert_ne!(CacheKey::of(&local(), &policy, &large(2)).await, one);
        assert_eq!(CacheKey::of(&local(), &policy, &large(1)).await, one);
        assert_eq!(one.to_string().len(), 64);
    }
}
