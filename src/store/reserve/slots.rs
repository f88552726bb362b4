//! Slots: one order each, written twice, told from leftovers and halves by a checksum.
//!
//! ```text
//! slot: copy | copy                                            4,096 bytes each, at multiples of that
//! copy: magic 8 | series 8 | number 8 | length 4 | SHA-256 32 | the order as JSON | zeros
//! ```
//!
//! Integers are little-endian; the checksum covers everything before and behind it up to the zeros.

use sha2::{Digest, Sha256};

use crate::engine::AuditEntry;
use crate::store::record;

/// How long one copy is, in bytes: what a file system allocates and a disk writes at once.
pub(super) const COPY: usize = 4_096;
/// How long a slot is, in bytes.
pub(super) const SLOT: usize = 2 * COPY;

const MAGIC: &[u8; 8] = b"slogate1";
const HEAD: usize = 28;
const BODY: usize = HEAD + 32;

/// The place of an order among others. Numbers of different series have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) series: u64,
    pub(super) number: u64,
}

impl Mark {
    /// Whether what was taken over up to here includes `other`.
    pub(super) fn covers(self, other: Self) -> bool {
        self.series == other.series && self.number >= other.number
    }

    pub(super) fn write(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.series.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (series, number) = bytes.split_first_chunk::<8>()?;
        let number = number.try_into().ok()?;
        Some(Self { series: u64::from_le_bytes(*series), number: u64::from_le_bytes(number) })
    }
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) mark: Mark,
    /// As it is entered in the audit, but for the number that it gets there.
    pub(super) order: AuditEntry,
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Order(Box<Record>),
    /// Something was there, or half of it.
    Ruins,
}

impl Record {
    /// The bytes of a slot; `None` for an order that is too long.
    pub(super) fn slot(&self) -> Option<Vec<u8>> {
        let body = record::write(&self.order);
        if body.len() > COPY - BODY {
            return None;
        }
        let mut copy = vec![0; COPY];
        copy[..8].copy_from_slice(MAGIC);
        copy[8..24].copy_from_slice(&self.mark.write());
        copy[24..HEAD].copy_from_slice(&(body.len() as u32).to_le_bytes());
        copy[BODY..BODY + body.len()].copy_from_slice(&body);
        let sum = checksum(&copy[..HEAD], &body);
        copy[HEAD..BODY].copy_from_slice(&sum);
        Some([copy.as_slice(), copy.as_slice()].concat())
    }

    fn from_copy(copy: &[u8]) -> Option<Self> {
        let (head, rest) = copy.split_at_checked(HEAD)?;
        let (sum, rest) = rest.split_at_checked(BODY - HEAD)?;
        let length = u32::from_le_bytes(head[24..].try_into().ok()?);
        let body = rest.get(..length as usize)?;
        if head[..8] != *MAGIC || checksum(head, body) != *sum {
            return None;
        }
        Some(Self { mark: Mark::read(&head[8..24])?, order: record::read(body).ok()? })
    }
}

/// What the bytes of a slot say. The copies of one slot say the same, unless one of them was damaged, or the last of
/// several orders in this slot was cut short; then the later one that is whole counts.
pub(super) fn read(slot: &[u8]) -> Found {
    if slot.iter().all(|byte| *byte == 0) {
        return Found::Nothing;
    }
    let whole = slot.chunks(COPY).filter_map(Record::from_copy);
    whole.max_by_key(|record| record.mark.number).map_or(Found::Ruins, |record| Found::Order(Box::new(record)))
}

fn checksum(head: &[u8], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(head).chain_update(body).finalize().into()
}
