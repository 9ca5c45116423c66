import Protocol
import RADOS
import Wire

/// What an open image knows of its snapshots, and what it has said of that.
struct SnapshotKnowledge {
    /// The newest snapshot that the header has named.
    var sequence = SnapID.none
    /// Counts changes of what writes are sent with.
    var generation: UInt32 = 0
    /// Requests under way that were begun before the last change.
    var older = 0
    /// The newest snapshot that was told to be known.
    var told = SnapID.none
    /// That is being told.
    var isTelling = false
    /// The header is being read beside the renewals.
    var isLooking = false
}

/// An image that is open learns of a new snapshot from its header. From then on it is sent with every write; when the writes
/// that were begun without it have been answered, the header gets the word that it is known. Who makes the snapshot waits
/// for that word.
extension Image {
    /// Reads the header again, without renewing the watch: a snapshot may have been made.
    public func look() {
        guard !watch.isClosing, !watch.isRemoved, !knowledge.isLooking, !watch.isRenewing else { return }
        knowledge.isLooking = true
        submit(.look, ImageHeader.steps)
    }

    /// Says which snapshots are known, if there are any; to be called once the watch stands.
    public func confirm() {
        guard knowledge.older == 0, knowledge.told < knowledge.sequence, !knowledge.isTelling, !watch.isClosing else {
            return
        }
        knowledge.isTelling = true
        knowledge.told = knowledge.sequence
        let value = ImageNaming.number(knowledge.sequence.rawValue)
        submit(.confirm, [.assertExists, .setOmap(entries: [KeyValue(ImageNaming.seenKey(cookie), value)])])
    }

    func confirmed() {
        knowledge.isTelling = false
        confirm()
    }

    /// Takes the snapshots of the header.
    func learn(_ header: ImageHeader) {
        let sequence = SnapID(header.snapshotSequence)
        // An answer may be older than one that came before it.
        guard sequence >= knowledge.sequence else { return }
        if snapshot == nil {
            let context = header.context
            if context != scope.context {
                scope.context = context
                knowledge.generation &+= 1
                knowledge.older = outstanding
            }
        }
        knowledge.sequence = sequence
        confirm()
    }

    /// A request has ended that was begun before the last change.
    func olderEnded() {
        precondition(knowledge.older > 0, "more requests ended than there were")
        knowledge.older -= 1
        confirm()
    }
}
