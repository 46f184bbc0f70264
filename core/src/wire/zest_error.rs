//! What can be wrong with a message of our extension.

/// Why a message of a known type was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZestError {
    /// Its length cannot be; names the kind.
    Length(&'static str),
    /// It is longer than its kind may be.
    TooLong {
        /// Kind.
        what: &'static str,
        /// Limit in bytes.
        max: u32,
    },
    /// This availability run is empty, touches the one before, overflows, exceeds the total or is cut off.
    Run(u32),
    /// Slot state other than 0 and 1.
    SlotState(u8),
    /// The same of `follow`.
    FollowState(u8),
    /// The same of the wait in `plain request`.
    WaitState(u8),
}
