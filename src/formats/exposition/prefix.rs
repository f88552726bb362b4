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

/// The first byte in which two blocks differ; 16 when they do not.
#[inline(always)]
fn difference(left: &[u8; 16], right: &[u8; 16]) -> usize {
    (u128::from_le_bytes(*left) ^ u128::from_le_bytes(*right)).trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

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
