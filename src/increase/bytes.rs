//! Numbers as bytes: small ones short.

use super::target::LATEST_MS;
use crate::time::Timestamp;

/// Writes numbers in as few bytes as they need, seven bits in each.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
    /// Instants are written as their distance from this one, in milliseconds.
    base_ms: i64,
}

/// Reads what a [`Writer`] wrote, and refuses everything else.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    base_ms: i64,
}

/// The bytes are not what was written; names what could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged(pub &'static str);

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// A number that may be negative, in zigzag order: 0, -1, 1, -2, 2.
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    pub fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    pub fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.bytes.extend_from_slice(text);
    }

    pub fn double(&mut self, double: f64) {
        self.bytes.extend_from_slice(&double.to_bits().to_le_bytes());
    }

    pub fn time(&mut self, time: Timestamp) {
        self.signed(time.millis() - self.base_ms);
    }

    pub fn maybe_time(&mut self, time: Option<Timestamp>) {
        self.byte(u8::from(time.is_some()));
        time.into_iter().for_each(|time| self.time(time));
    }

    /// Writes an instant, to which those that follow are probably close.
    pub fn base(&mut self, base: Timestamp) {
        self.signed(base.millis());
        self.base_ms = base.millis();
    }
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, base_ms: 0 }
    }

    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged("the end"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // One way to write each number: no bits beyond the 64th, no empty byte at the end.
            if bits << shift >> shift != bits || shift > 0 && byte == 0 {
                return Err(Damaged("a number"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged("a number"))
    }

    pub fn signed(&mut self) -> Result<i64, Damaged> {
        let zigzag = self.number()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// How many things follow that take at least a byte each.
    pub fn length(&mut self) -> Result<usize, Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged("a length"))?;
        if length > self.rest.len() { Err(Damaged("a length")) } else { Ok(length) }
    }

    pub fn text(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.length()?;
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(text)
    }

    pub fn double(&mut self) -> Result<f64, Damaged> {
        let (bits, rest) = self.rest.split_first_chunk().ok_or(Damaged("the end"))?;
        self.rest = rest;
        Ok(f64::from_bits(u64::from_le_bytes(*bits)))
    }

    pub fn flag(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged("a flag")),
        }
    }

    pub fn time(&mut self) -> Result<Timestamp, Damaged> {
        let millis = self.signed()?.checked_add(self.base_ms);
        let millis = millis.filter(|millis| (0..=LATEST_MS).contains(millis)).ok_or(Damaged("a time"))?;
        Ok(Timestamp::from_millis(millis))
    }

    pub fn maybe_time(&mut self) -> Result<Option<Timestamp>, Damaged> {
        if self.flag()? { self.time().map(Some) } else { Ok(None) }
    }

    pub fn base(&mut self) -> Result<Timestamp, Damaged> {
        self.base_ms = 0;
        let base = self.time()?;
        self.base_ms = base.millis();
        Ok(base)
    }

    pub fn end(&self) -> Result<(), Damaged> {
        if self.rest.is_empty() { Ok(()) } else { Err(Damaged("what follows")) }
    }
}
