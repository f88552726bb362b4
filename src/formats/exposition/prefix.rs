//! How far two lines agree.

/// The number of bytes in which `one` and `two` agree from their starts.
#[inline(always)]
pub(crate) fn common_prefix(one: &[u8], two: &[u8]) -> usize {
    let most = one.len().min(two.len());
    let (one, two) = (&one[..most], &two[..most]);
    let ((blocks, _), (other_blocks, _)) = (one.as_chunks::<16>(), two.as_chunks::<16>());
    for (place, (left, right)) in blocks.iter().zip(other_blocks).enumerate() {
        if left != right {
            return place * 16 + difference(left, right);
        }
    }
    // The last block again, from its end: what it shares with the blocks before is known to agree.
    match (one.last_chunk::<16>(), two.last_chunk::<16>()) {
        (Some(left), Some(right)) => most - 16 + difference(left, right),
        _ => one.iter().zip(two).take_while(|(left, right)| left == right).count(),
    }
}

/// Whether `text` begins with `start`. What stands behind the labels of a group is short, and compared in place it
/// costs less than a call; for more bytes the call is faster than any loop here.
#[inline(always)]
pub(crate) fn starts_with(text: &[u8], start: &[u8]) -> bool {
    match (start.len(), text.first_chunk::<16>(), start.first_chunk::<8>(), start.last_chunk::<8>()) {
        // Two halves, which overlap.
        (8..=16, Some(text), Some(first), Some(last)) => {
            let text = u128::from_le_bytes(*text);
            let end = (text >> (8 * (start.len() - 8))) as u64;
            text as u64 == u64::from_le_bytes(*first) && end == u64::from_le_bytes(*last)
        }
        _ => text.starts_with(start),
    }
}

/// The first byte in which two blocks differ; 16 when they do not.
#[inline(always)]
fn difference(left: &[u8; 16], right: &[u8; 16]) -> usize {
    (u128::from_le_bytes(*left) ^ u128::from_le_bytes(*right)).trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_begins_with_each_of_its_starts_and_nothing_else() {
        let text: Vec<u8> = (0..160).collect();
        for length in 0..=160 {
            let mut start = text[..length].to_vec();
            for text in [&text, &start] {
                assert!(starts_with(text, &start), "{length}");
            }
            for at in 0..length {
                start[at] ^= 0x80;
                assert!(!starts_with(&text, &start), "byte {at} of {length}");
                start[at] ^= 0x80;
            }
            start.push(0xFF);
            assert!(!starts_with(&text, &start), "one more than {length}");
            assert!(!starts_with(&text[..length], &start), "one more than there are");
        }
    }

    #[test]
    fn agrees_with_a_loop_at_every_length() {
        for length in 0..70 {
            for differing in 0..=length {
                let (one, mut two) = (vec![b'a'; length], vec![b'a'; length]);
                if let Some(byte) = two.get_mut(differing) {
                    *byte = b'b';
                }
                assert_eq!(common_prefix(&one, &two), differing, "{length}");
                two.extend_from_slice(b"aaaa");
                assert_eq!(common_prefix(&one, &two), differing, "{length} and 4");
                assert_eq!(common_prefix(&two, &one), differing, "{length} and 4");
            }
        }
    }
}
