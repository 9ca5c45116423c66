import Protocol
import RADOS
import Synchronization
import Wire

/// The right to resize an image: only one command has it at a time. Without it a command that is still trimming would
/// cut off what a client writes after another command has made the image larger.
///
/// The header names the holder by the cookie of a watch that the holder has on it, and the holder renews the watch while it
/// trims: a holder whose watch has run out is dead, and the next command takes its place and trims itself. The watch also
/// keeps the image from being removed meanwhile.
final class ResizeLease: Sendable {
    let id: String
    let cookie: UInt64
    /// The second of the last renewal.
    private let renewed: Mutex<UInt32>

    init(id: String, cookie: UInt64, now: Timestamp) {
        self.id = id
        self.cookie = cookie
        renewed = Mutex(now.seconds)
    }

    static func value(_ cookie: UInt64) -> Bytes { ImageNaming.number(cookie) }

    /// Holds as long as the lease is ours.
    var guardStep: ObjectOperation {
        .compareOmap(key: ImageNaming.resizing, expected: Self.value(cookie))
    }

    var watchStep: ObjectOperation {
        .watch(cookie: cookie, timeoutMilliseconds: ImageLimits.watchTimeoutMilliseconds)
    }

    /// Gives the lease up, behind `guardStep`.
    var endSteps: [ObjectOperation] { [.removeOmap(keys: [ImageNaming.resizing]), .unwatch(cookie: cookie)] }

    /// True for one of those who ask when the watch should be renewed; also after the clock was set back.
    func isDue(_ now: Timestamp) -> Bool {
        renewed.withLock { last in
            let seconds = now.seconds &- last
            guard seconds >= UInt32(ImageLimits.renewalMilliseconds / 1000) else { return false }
            last = now.seconds
            return true
        }
    }
}

extension Images {
    /// Takes the lease of an image. Throws EBUSY naming the holder while another command has it.
    func takeLease(on info: ImageInfo) async throws(RBDError) -> ResizeLease {
        let lease = ResizeLease(id: info.id, cookie: drawID(), now: now())
        for _ in 0..<ImageLimits.attempts {
            let holder = try await leaseHolder(of: info)
            if let holder {
                let watcher = try await watchers(of: info).first { ResizeLease.value($0.cookie) == holder }
                if let watcher { throw busy(info.name, watcher.name) }
            }
            let steps: [ObjectOperation] = [
                .assertExists, .compareOmap(key: ImageNaming.removing, expected: nil),
                .compareOmap(key: ImageNaming.resizing, expected: holder),
                .setOmap(entries: [KeyValue(ImageNaming.resizing, ResizeLease.value(lease.cookie))]),
                lease.watchStep,
            ]
            if try await performGuarded(steps, on: ImageNaming.header(info.id), info.name) { return lease }
        }
        throw .contended(shown(info.name))
    }

    /// Renews the lease when it is time to. Throws when it has been lost.
    func keep(_ lease: ResizeLease, _ name: String) async throws(RBDError) {
        guard lease.isDue(now()) else { return }
        let steps = [lease.guardStep, lease.watchStep]
        guard try await performGuarded(steps, on: ImageNaming.header(lease.id), name) else {
            throw .contended(shown(name))
        }
    }

    /// Gives the lease up, if it is still ours.
    func end(_ lease: ResizeLease, _ name: String) async throws(RBDError) {
        _ = try await performGuarded(
            [lease.guardStep] + lease.endSteps, on: ImageNaming.header(lease.id), name)
    }

    private func busy(_ name: String, _ holder: String) -> RBDError {
        RBDError(
            errno: Errno.busy,
            "image '\(shown(name))' is being resized, rolled back or given a snapshot by \(ImageSpec.shown(holder)): wait for its end, or "
                + "\(ImageLimits.watchTimeoutMilliseconds / 1000) seconds after a client that died")
    }

    private func leaseHolder(of info: ImageInfo) async throws(RBDError) -> Bytes? {
        do {
            let outputs = try await pool.perform(
                [.getOmap(keys: [ImageNaming.resizing])], on: ImageNaming.header(info.id))
            var reader = ByteReader(outputs.first ?? .empty)
            let entries = try reader.readArray(atMost: 1) { r throws(WireError) in try KeyValue(from: &r) }
            return entries.first?.value
        } catch let error as RADOSError {
            throw RBDError(error, shown(info.name))
        } catch {
            throw RBDError(errno: Errno.inputOutput, "image '\(shown(info.name))': its header cannot be read: \(error)")
        }
    }
}
