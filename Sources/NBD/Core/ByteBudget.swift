/// What the requests of all connections of a server hold together, confined to its event loop.
///
/// A connection that holds nothing may always begin one request, so none starves and each one's next chance comes with an
/// answer of its own: nobody has to be woken when another gives back. What is held is therefore bounded by the limit and
/// one request for each connection.
package final class ByteBudget {
    /// Bytes held now.
    package private(set) var held = 0

    /// Nothing is held.
    package init() {}

    /// Whether a connection that holds something already may hold more.
    var hasRoom: Bool { held < Limits.serverBytesInFlight }

    func take(_ count: Int) { held += count }

    func giveBack(_ count: Int) {
        precondition(count <= held, "\(count) bytes given back of \(held)")
        held -= count
    }
}
