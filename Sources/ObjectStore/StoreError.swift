import Glibc
import Protocol

/// Why the store refused or failed: a code for programs and one line for people that names the thing and what to do.
public struct StoreError: Error, Hashable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: Hashable, Sendable {
        /// The object does not exist.
        case notFound
        /// What is to be made is there already.
        case exists
        /// A block of the object does not match its checksum or cannot be read; another copy must serve.
        case corrupt(ObjectID, block: UInt64)
        /// The disk failed or the journal is damaged. The store has stopped for good.
        case failed
        /// Another process uses the directory.
        case inUse
        /// The directory or file is not a store, or one that was never finished.
        case foreign
        case otherCluster
        case otherOSD
        case newerFormat
        case olderFormat
        case permission
        case readOnly
        case noSpace
        /// A transaction that no record can hold.
        case tooLarge
    }

    /// The kind of failure.
    public let code: Code
    /// One line for people.
    public let description: String

    /// A failure of a kind, told in one line.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    static func corrupt(_ object: ObjectID, block: UInt64, _ reason: String) -> StoreError {
        StoreError(.corrupt(object, block: block), "object \(object), block \(block): \(reason)")
    }

    /// The exit status that goes with the failure.
    public var status: Int32 {
        switch code {
        case .notFound: ENOENT
        case .exists: EEXIST
        case .corrupt, .failed: EIO
        case .inUse: EBUSY
        case .foreign, .otherCluster, .otherOSD, .newerFormat, .olderFormat: EINVAL
        case .permission: EACCES
        case .readOnly: EROFS
        case .noSpace: ENOSPC
        case .tooLarge: EFBIG
        }
    }
}
