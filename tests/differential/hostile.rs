//! Random inputs that fit a signature: sizes from none to a few, and values where implementations go wrong.

use anyhow::Result;
use bytes::Bytes;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

/// The sizes of variable axes.
const SIZES: [u32; 7] = [0, 1, 2, 3, 4, 7, 17];

/// The maximum number of elements of an input. A tensor of many variable axes has the size 1 along the last ones.
const MAX_ELEMENTS: u32 = 1 << 14;

/// Strings, some of which are not UTF-8.
const STRINGS: [&[u8]; 6] = [
    b"",
    b"a",
    b"-1e400",
    "Köln".as_bytes(),
    b"\xff\xfe",
    &[b'x'; 300],
];

/// A deterministic source of inputs.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the next number (xorshift64).
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        let count = u64::try_from(from.len()).unwrap_or(1);
        from[usize::try_from(self.next() % count).unwrap_or(0)]
    }

    /// Returns an input for each of a signature. Half of the time all variable axes have one size, as most graphs
    /// require.
    pub(super) fn inputs(&mut self, signature: &Signature) -> Result<Vec<NamedTensor>> {
        let size = (self.next() & 1 == 0).then(|| self.choose(&SIZES));
        let inputs = signature.inputs.iter().map(|spec| self.input(spec, size));
        inputs.collect()
    }

    fn input(&mut self, spec: &TensorSpec, size: Option<u32>) -> Result<NamedTensor> {
        let mut dimensions = Vec::new();
        let mut elements: u32 = 1;
        for dimension in &spec.shape {
            let mut axis = match (dimension, size) {
                (Dimension::Fixed(fixed), _) => *fixed,
                (Dimension::Variable, Some(size)) => size,
                (Dimension::Variable, None) => self.choose(&SIZES),
            };
            if matches!(dimension, Dimension::Variable)
                && elements.saturating_mul(axis) > MAX_ELEMENTS
            {
                axis = 1;
            }
            elements = elements.saturating_mul(axis);
            dimensions.push(axis);
        }
        let mut content = Vec::new();
        for _ in 0..elements {
            self.push_element(spec.element_type, &mut content);
        }
        let tensor = Tensor::new(
            spec.element_type,
            Shape::new(dimensions)?,
            Bytes::from(content),
        )?;
        Ok(NamedTensor {
            name: spec.name.clone(),
            tensor,
        })
    }

    /// Adds an element as V2 lays it out.
    fn push_element(&mut self, element_type: ElementType, content: &mut Vec<u8>) {
        let small = self.next().is_multiple_of(2);
        match element_type {
            ElementType::Bytes => {
                let string = self.choose(&STRINGS);
                let length = u32::try_from(string.len()).unwrap_or(0);
                content.extend_from_slice(&length.to_le_bytes());
                content.extend_from_slice(string);
            }
            ElementType::Bool => content.push(self.choose(&[0, 1])),
            ElementType::Fp16 => {
                let bits = [
                    0x0000, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0x7bff, 0x0001,
                ];
                content.extend_from_slice(&u16::to_le_bytes(self.choose(&bits)));
            }
            ElementType::Bf16 => {
                let bits = [
                    0x0000, 0x8000, 0x3f80, 0xbf80, 0x7f80, 0xff80, 0x7fc0, 0x7f7f, 0x0001,
                ];
                content.extend_from_slice(&u16::to_le_bytes(self.choose(&bits)));
            }
            ElementType::Fp32 => {
                let number = self.choose(&SINGLES);
                content.extend_from_slice(&number.to_le_bytes());
            }
            ElementType::Fp64 => {
                let number = self.choose(&DOUBLES);
                content.extend_from_slice(&number.to_le_bytes());
            }
            // Small numbers are the ones that indices, axes and sizes may be.
            integer => {
                let numbers: &[i64] = match small {
                    true => &SMALL,
                    false => &LARGE,
                };
                let number = self.choose(numbers).to_le_bytes();
                let size = integer.size().unwrap_or(8);
                content.extend_from_slice(&number[..size]);
            }
        }
    }
}

const SINGLES: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -7.0,
    88.8,
    -105.0,
    3e9,
    9.3e18,
    f32::MAX,
    f32::MIN_POSITIVE,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

const DOUBLES: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.5,
    -7.0,
    710.0,
    3e9,
    9.3e18,
    f64::MAX,
    f64::MIN_POSITIVE,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

const SMALL: [i64; 9] = [0, 1, 2, 3, 5, -1, -2, -3, 100];

/// The ends of every width, also after the higher bytes are cut off.
const LARGE: [i64; 12] = [
    i64::MIN,
    i64::MIN + 1,
    i64::MAX,
    i32::MIN as i64,
    i32::MAX as i64,
    1 << 31,
    1 << 32,
    (1 << 53) + 1,
    0x8080_8080_8080_8080_u64.cast_signed(),
    0x8000_8000_8000_8000_u64.cast_signed(),
    0x7fff_7fff_7fff_7fff,
    0x8000_0000_8000_0000_u64.cast_signed(),
];

#[test]
fn random_inputs_fit_their_signature() -> Result<()> {
    let spec = |element_type| TensorSpec {
        name: ElementType::name(element_type).to_owned(),
        element_type,
        shape: vec![
            Dimension::Variable,
            Dimension::Fixed(3),
            Dimension::Variable,
        ],
        optional: false,
    };
    let signature = Signature {
        inputs: ElementType::ALL.map(spec).to_vec(),
        outputs: Vec::new(),
    };
    for seed in 0..20 {
        let inputs = Random::of(seed).inputs(&signature)?;
        for (spec, input) in signature.inputs.iter().zip(&inputs) {
            assert_eq!(spec.check(&input.tensor), Ok(()), "{}", spec.name);
        }
        let again = Random::of(seed).inputs(&signature)?;
        assert_eq!(inputs, again);
    }
    Ok(())
}
