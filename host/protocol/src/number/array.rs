//! Arrays of numbers, validated and decoded in one pass.
//!
//! The text need not be valid JSON. The result is `None` unless it is an array of numbers of the datatype,
//! among which the words of `word` count as floats.

use super::decimal::Decimal;
use super::float::{read_f32, read_f64};
use wisp_tensor::tensor::byte_length;
use wisp_tensor::{ElementType, Shape};

/// A closure that reads an integer from the start of a text and returns its bytes and its length.
///
/// With closures instead of function pointers, the loop over the elements is compiled once per type.
macro_rules! integer {
    ($integer:ty) => {
        |text: &[u8]| {
            let decimal = Decimal::read(text).filter(|decimal| decimal.is_integer)?;
            let value: $integer = match decimal.has_all_digits {
                true if decimal.is_negative && <$integer>::MIN == 0 => return None,
                true if decimal.is_negative => (-i128::from(decimal.digits)).try_into().ok()?,
                true => decimal.digits.try_into().ok()?,
                false => str::from_utf8(text.get(..decimal.length)?)
                    .ok()?
                    .parse()
                    .ok()?,
            };
            Some((<$integer>::to_le_bytes(value), decimal.length))
        }
    };
}

/// Calls a method of a [`Scanner`] with the closure that reads one element of a datatype. Gives `None` for
/// datatypes that this module does not read.
macro_rules! with_reader {
    ($element_type:expr, $scanner:ident.$method:ident($($argument:expr),+)) => {
        match $element_type {
            ElementType::Uint8 => $scanner.$method($($argument),+, integer!(u8)),
            ElementType::Uint16 => $scanner.$method($($argument),+, integer!(u16)),
            ElementType::Uint32 => $scanner.$method($($argument),+, integer!(u32)),
            ElementType::Uint64 => $scanner.$method($($argument),+, integer!(u64)),
            ElementType::Int8 => $scanner.$method($($argument),+, integer!(i8)),
            ElementType::Int16 => $scanner.$method($($argument),+, integer!(i16)),
            ElementType::Int32 => $scanner.$method($($argument),+, integer!(i32)),
            ElementType::Int64 => $scanner.$method($($argument),+, integer!(i64)),
            ElementType::Fp32 => $scanner.$method($($argument),+, |text| {
                let (number, length) = read_f32(text)?;
                Some((number.to_le_bytes(), length))
            }),
            ElementType::Fp64 => $scanner.$method($($argument),+, |text| {
                let (number, length) = read_f64(text)?;
                Some((number.to_le_bytes(), length))
            }),
            ElementType::Bool | ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => None,
        }
    };
}

/// Decodes `text`, an array of the elements of a tensor of this type and shape, flat or nested exactly
/// as the shape, into the bytes of the tensor.
pub(crate) fn read_tensor(text: &str, element_type: ElementType, shape: &Shape) -> Option<Vec<u8>> {
    let scanner = Scanner::new(text);
    with_reader!(element_type, scanner.tensor(shape))
}

/// Appends the numbers of the flat array at the start of `text` to `content`, and returns their number
/// and the length of the array. Leaves `content` unchanged if it returns `None`.
pub(crate) fn read_array(
    text: &str,
    element_type: ElementType,
    content: &mut Vec<u8>,
) -> Option<(usize, usize)> {
    let scanner = Scanner::new(text);
    let length = content.len();
    let read = with_reader!(element_type, scanner.array(content));
    if read.is_none() {
        content.truncate(length);
    }
    read
}

/// A position in text that need not be valid JSON.
struct Scanner<'a> {
    text: &'a [u8],
    position: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Scanner<'a> {
        let text = text.as_bytes();
        Scanner { text, position: 0 }
    }

    fn array<const SIZE: usize>(
        mut self,
        content: &mut Vec<u8>,
        read: impl Fn(&[u8]) -> Option<([u8; SIZE], usize)>,
    ) -> Option<(usize, usize)> {
        self.expect(b'[')?;
        let mut count = 0;
        if self.eat(b']') {
            return Some((count, self.position));
        }
        loop {
            content.extend_from_slice(&self.element(&read)?);
            count += 1;
            if !self.eat(b',') {
                self.expect(b']')?;
                return Some((count, self.position));
            }
        }
    }

    fn tensor<const SIZE: usize>(
        mut self,
        shape: &Shape,
        read: impl Fn(&[u8]) -> Option<([u8; SIZE], usize)>,
    ) -> Option<Vec<u8>> {
        let count = shape.elements();
        // An element takes at least a digit and a comma or bracket. Shorter text cannot fill the
        // shape, so nothing is allocated for it.
        if count > self.text.len().div_ceil(2) {
            return None;
        }
        let mut content = vec![0; byte_length(shape, SIZE).ok()?];
        let mut elements = content.as_chunks_mut().0.iter_mut();
        let start = self.position;
        match self.eat(b'[') && self.eat(b'[') {
            true => {
                self.position = start;
                self.nested_arrays(shape.dimensions(), &mut elements, &read)?;
            }
            false => {
                self.position = start;
                self.numbers(count, &mut elements, &read)?;
            }
        }
        self.skip_whitespace();
        (self.position == self.text.len()).then_some(content)
    }

    /// Reads nested arrays, one level per axis; the innermost contain numbers.
    fn nested_arrays<const SIZE: usize>(
        &mut self,
        sizes: &[u32],
        elements: &mut std::slice::IterMut<[u8; SIZE]>,
        read: &impl Fn(&[u8]) -> Option<([u8; SIZE], usize)>,
    ) -> Option<()> {
        let (&size, inner) = sizes.split_first()?;
        if inner.is_empty() {
            return self.numbers(size as usize, elements, read);
        }
        self.expect(b'[')?;
        for position in 0..size {
            if position > 0 {
                self.expect(b',')?;
            }
            self.nested_arrays(inner, elements, read)?;
        }
        self.expect(b']')
    }

    /// Reads an array of exactly `count` numbers.
    fn numbers<const SIZE: usize>(
        &mut self,
        count: usize,
        elements: &mut std::slice::IterMut<[u8; SIZE]>,
        read: &impl Fn(&[u8]) -> Option<([u8; SIZE], usize)>,
    ) -> Option<()> {
        self.expect(b'[')?;
        for position in 0..count {
            if position > 0 {
                self.expect(b',')?;
            }
            *elements.next()? = self.element(read)?;
        }
        self.expect(b']')
    }

    #[inline(always)]
    fn element<const SIZE: usize>(
        &mut self,
        read: &impl Fn(&[u8]) -> Option<([u8; SIZE], usize)>,
    ) -> Option<[u8; SIZE]> {
        self.skip_whitespace();
        let (element, length) = read(self.text.get(self.position..)?)?;
        self.position += length;
        Some(element)
    }

    /// Skips white space and this byte, which must come next.
    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// Skips white space, then this byte if it comes next. Returns whether it did.
    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let is_next = self.text.get(self.position) == Some(&byte);
        self.position += usize::from(is_next);
        is_next
    }

    #[inline(always)]
    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.text.get(self.position) {
            self.position += 1;
        }
    }
}
