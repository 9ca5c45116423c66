import Dispatch
import Glibc
import NBD

/// A client socket for what no well-behaved client does. Its calls block a thread of its own, never one of those that run
/// tasks: the server's exports are opened there.
final class RawClient: @unchecked Sendable {
    private let descriptor: Int32
    private let thread = DispatchQueue(label: "RawClient")

    struct Failure: Error { let code: Int32 }

    /// Connects to a unix socket, or to a port on the loopback address.
    init(_ address: ListenAddress) throws {
        switch address {
        case .unix(let path):
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
            try join(&name)
        case .tcp(_, let port):
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port.bigEndian
            name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            try join(&name)
        }
    }

    private func join<Name>(_ name: inout Name) throws {
        let length = socklen_t(MemoryLayout<Name>.size)
        let result = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, length) }
        }
        guard result == 0 else { throw Failure(code: errno) }
    }

    deinit {
        close(descriptor)
    }

    private func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { done in thread.async { done.resume(returning: body()) } }
    }

    /// Sends all bytes; false when the server has closed.
    @discardableResult
    func send(_ bytes: [UInt8]) async -> Bool {
        await blocking { self.sendNow(bytes) }
    }

    /// Receives exactly `count` bytes; fewer when the server closes first.
    func receive(_ count: Int) async -> [UInt8] {
        await blocking { self.receiveNow(count) }
    }

    /// Waits for the server to close and says what came before.
    func receiveToEnd() async -> [UInt8] {
        await blocking {
            var all: [UInt8] = []
            while true {
                let part = self.receiveNow(65536)
                all += part
                if part.count < 65536 { return all }
            }
        }
    }

    private func sendNow(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Sends what the socket takes without waiting.
    func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress!, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
    }

    private func receiveNow(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var have = 0
        while have < count {
            let part = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + have, count - have, 0) }
            guard part > 0 else { break }
            have += part
        }
        return Array(bytes[..<have])
    }

    /// Makes closing send a reset instead of taking leave.
    func resetOnClose() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    /// Closes, as far as the server can tell.
    func hangUp() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Greets and opens `export`; ready for requests.
    func open(_ export: String) async -> Bool {
        guard await receive(18) == Hear.greeting else { return false }
        await send(Say.flags() + Say.option(OptionCode.exportName, Array(export.utf8)))
        return await receive(10).count == 10
    }
}
