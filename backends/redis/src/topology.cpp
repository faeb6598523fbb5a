#include "topology.h"

#include <algorithm>
#include <chrono>

namespace polycache::redis {
namespace {

using namespace std::chrono_literals;

constexpr auto replica_pause = 10s;  // until a session tries the preferred replica again

class SingleTopology final : public Topology {
 public:
  explicit SingleTopology(Server& server) noexcept : server_(server) {}

  Place server_for(std::string_view /*key*/, Purpose /*purpose*/,
                   Deadline /*deadline*/) noexcept override {
    return {&server_, &hint_};
  }
  std::size_t readers() const noexcept override { return 1; }
  void switch_replica(Deadline /*deadline*/) noexcept override {}
  bool moved(int /*slot*/, std::string_view /*address*/) override { return false; }
  void for_each_primary(FunctionRef<void(Place)> visit) override { visit({&server_, &hint_}); }
  void for_each(FunctionRef<void(Place)> visit) override { visit({&server_, &hint_}); }
  // A server without memory is still called, to erase the values that it refuses.
  bool admits(std::string_view /*key*/, Access access) const noexcept override {
    return !server_.refuses(access == Access::write ? Purpose::erase : Purpose::read);
  }
  bool admits_all() const noexcept override { return server_.admits_all(); }

 private:
  Server& server_;
  std::size_t hint_ = 0;
};

class ReplicaTopology final : public Topology {
 public:
  ReplicaTopology(std::span<const std::unique_ptr<Server>> servers, std::size_t turn)
      : servers_(servers),
        hints_(servers.size()),
        home_(1 + turn % (servers.size() - 1)),
        reader_(home_) {}

  Place server_for(std::string_view /*key*/, Purpose purpose, Deadline deadline) noexcept override {
    return place(purpose == Purpose::read ? reader(deadline) : 0);
  }
  std::size_t readers() const noexcept override { return servers_.size(); }
  void switch_replica(Deadline deadline) noexcept override {
    reader_ = (reader_ + 1) % servers_.size();
    back_home_ = deadline + replica_pause;
  }
  bool moved(int /*slot*/, std::string_view /*address*/) override { return false; }
  void for_each_primary(FunctionRef<void(Place)> visit) override { visit(place(0)); }
  void for_each(FunctionRef<void(Place)> visit) override {
    for (std::size_t i = 0; i < servers_.size(); ++i) visit(place(i));
  }
  // If all replicas are down, reads go to the first server. A server without memory is still
  // called, to erase the values that it refuses.
  bool admits(std::string_view /*key*/, Access access) const noexcept override {
    if (access == Access::write) return !servers_.front()->refuses(Purpose::erase);
    return std::any_of(servers_.begin(), servers_.end(), [](const std::unique_ptr<Server>& server) {
      return !server->refuses(Purpose::read);
    });
  }
  bool admits_all() const noexcept override { return servers_.front()->admits_all(); }

 private:
  Place place(std::size_t number) noexcept { return {servers_[number].get(), &hints_[number]}; }

  // Skips servers that are known to be down.
  std::size_t reader(Deadline deadline) noexcept {
    if (reader_ != home_ && deadline >= back_home_) reader_ = home_;
    for (std::size_t left = servers_.size(); left > 1; --left) {
      if (!servers_[reader_]->refuses(Purpose::read)) break;
      switch_replica(deadline);
    }
    return reader_;
  }

  const std::span<const std::unique_ptr<Server>> servers_;
  std::vector<std::size_t> hints_;
  const std::size_t home_;  // the number of the server to read from, if it is up
  std::size_t reader_;      // the one used now
  Deadline back_home_ = {};
};

}  // namespace

std::unique_ptr<Topology> make_topology(std::span<const std::unique_ptr<Server>> servers,
                                        std::size_t turn) {
  if (servers.size() == 1) return std::make_unique<SingleTopology>(*servers.front());
  return std::make_unique<ReplicaTopology>(servers, turn);
}

}  // namespace polycache::redis
