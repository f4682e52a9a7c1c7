//! The names of the points that plans are drawn with. A plan may name any other point that a driver or the engine asks at.

/// The bus is about to hand a commit to its store.
pub const COMMIT: &str = "bus commit";
/// The commit is durable, and the bus has not heard of it. The engine's own: the store's wrapper asks here.
pub const COMMIT_DURABLE: &str = "store commit durable";
/// The bus is about to send receipts.
pub const SEND_RECEIPTS: &str = "bus send receipts";
/// The bus is about to send a delivery.
pub const SEND_DELIVER: &str = "bus send deliver";
/// The bus is about to tell an instance that its completion is in the log.
pub const SEND_COMPLETED: &str = "bus send completed";
/// The disk is in the midst of a write. A process or machine that dies here leaves a write half done.
pub const DISK_WRITE: &str = "disk write";
/// The disk is in the midst of a sync.
pub const DISK_SYNC: &str = "disk sync";
/// The disk is in the midst of a write of a backup.
pub const BACKUP_WRITE: &str = "backup write";
/// An instance is about to send a completion.
pub const SEND_COMPLETE: &str = "instance send complete";
/// An instance is about to ask for the past.
pub const SEND_REBUILD: &str = "instance send rebuild";
/// An instance is about to ask for a further page of the past, or of what it follows.
pub const SEND_CREDIT: &str = "instance send credit";
/// An instance is about to say that it takes deliveries: the past is played.
pub const SEND_READY: &str = "instance send ready";
/// An instance is about to publish what a request decided.
pub const SEND_PUBLISH: &str = "instance send publish";
/// An instance is about to answer a request.
pub const RESPOND: &str = "instance respond";
