//! A blank picture as a PNG file of a few kilobytes, which takes milliseconds to decode.

/// The bytes of pixels that one pair of Huffman codes repeats, the maximum of the format.
const RUN: usize = 258;

/// Returns a black picture of `side` by `side` gray pixels.
pub(crate) fn blank(side: u32) -> Vec<u8> {
    let size = side.to_be_bytes();
    // Eight bits of gray, with the only methods of compression and filtering, not interlaced.
    let header = [size.as_slice(), &size, &[8, 0, 0, 0, 0]].concat();
    // Each row begins with the number of its filter, which is zero too.
    let rows = u64::from(side) * (u64::from(side) + 1);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [
        (b"IHDR", header),
        (b"IDAT", zeros(rows)),
        (b"IEND", Vec::new()),
    ] {
        let length = u32::try_from(content.len()).expect("a blank picture is small");
        let checked = [kind.as_slice(), &content].concat();
        file.extend(length.to_be_bytes());
        file.extend(&checked);
        file.extend(crc32(&checked).to_be_bytes());
    }
    file
}

/// Returns a zlib stream of at least one zero byte, in one block of fixed Huffman codes.
fn zeros(count: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, and its type.
    bits.push(0b011, 3);
    let zero = |bits: &mut Bits| bits.push_code(0b0011_0000, 8);
    zero(&mut bits);
    let run = RUN as u64;
    for _ in 0..(count - 1) / run {
        // A length of 258, and a distance of one byte.
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    for _ in 0..(count - 1) % run {
        zero(&mut bits);
    }
    // The end of the block.
    bits.push_code(0, 7);
    let mut stream = vec![0x78, 0x01];
    stream.extend(bits.bytes);
    // Adler-32 of zeros.
    let sum = u32::try_from(count % 65_521).expect("it is below 65 521");
    stream.extend(((sum << 16) | 1).to_be_bytes());
    stream
}

/// The bits of a deflate stream, from the lowest bit of each byte on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    /// Appends a number, from its lowest bit on.
    fn push(&mut self, number: u32, width: u32) {
        for place in 0..width {
            if self.length.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(byte) = self.bytes.last_mut()
                && (number >> place) & 1 == 1
            {
                *byte |= 1 << (self.length % 8);
            }
            self.length += 1;
        }
    }

    /// Appends a Huffman code, from its highest bit on.
    fn push_code(&mut self, code: u32, width: u32) {
        self.push(code.reverse_bits() >> (32 - width), width);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 * carry);
        }
    }
    !crc
}
