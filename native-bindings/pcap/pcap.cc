// libpcap for one thread: interfaces, handles, and the filling of a batch in shared memory. No policy; index.ts says what each
// function takes and gives. Every thread that loads this has handles of its own, by numbers that are never given twice, and whatever
// a thread leaves open is closed when it ends. Nothing here can send: the functions of libpcap that do are not linked in.
#include <node_api.h>

#include <pcap/pcap.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

namespace {

// The picture of the memory is in src/capture/batch.ts.
constexpr uint32_t kWords = 8;
constexpr uint32_t kRecordHeaderBytes = 16;
constexpr uint32_t kMaxSnapLength = 262144;
constexpr uint32_t kMaxHandles = 64;
// No frame of a network has this protocol number ("card specific control frames"): a socket bound to it receives nothing.
constexpr int kNoProtocol = ETH_P_CONTROL;

// What `fill` says about a handle.
constexpr uint32_t kEventDown = 1;
constexpr uint32_t kEventFailed = 2;

struct Handle {
  uint32_t id = 0;
  pcap_t* pcap = nullptr;
  int fd = -1;
  std::string device;
  unsigned interface_index = 0;
  uint32_t interface_word = 0;
  uint32_t snap_length = 0;
  bool nanoseconds = false;
  // Link-layer headers are made up by libpcap: offsets of a filter have to be put right by it.
  bool cooked = false;
  // The last batch was full before this handle's packets were at an end.
  bool more = false;
  std::string error;
  uint64_t delivered = 0;
  uint64_t delivered_bytes = 0;
  // libpcap counts modulo 2^32.
  uint64_t received = 0, dropped = 0, interface_dropped = 0;
  uint32_t last_received = 0, last_dropped = 0, last_interface_dropped = 0;

  ~Handle() {
    if (pcap != nullptr) pcap_close(pcap);
  }
};

struct Thread {
  std::vector<std::unique_ptr<Handle>> handles;
  uint32_t next_id = 1;
  uint32_t turn = 0;

  Handle* find(uint32_t id) {
    for (auto& handle : handles)
      if (handle->id == id) return handle.get();
    return nullptr;
  }
};

napi_value fail(napi_env env, const char* code, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, code, message.c_str());
  return nullptr;
}

Thread* thread_of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Thread*>(data);
}

template <size_t N>
bool arguments(napi_env env, napi_callback_info info, napi_value (&argv)[N]) {
  size_t argc = N;
  return napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) == napi_ok && argc >= N;
}

bool get_string(napi_env env, napi_value value, std::string* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  out->resize(length);
  return napi_get_value_string_utf8(env, value, &(*out)[0], length + 1, &length) == napi_ok &&
         out->find('\0') == std::string::npos;
}

bool get_u32(napi_env env, napi_value value, uint32_t* out) { return napi_get_value_uint32(env, value, out) == napi_ok; }

bool get_bool(napi_env env, napi_value value, bool* out) { return napi_get_value_bool(env, value, out) == napi_ok; }

napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value value = nullptr;
  napi_get_named_property(env, object, name, &value);
  return value;
}

void set(napi_env env, napi_value object, const char* name, const std::string& text) {
  napi_value value;
  if (napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok) napi_set_named_property(env, object, name, value);
}

void set(napi_env env, napi_value object, const char* name, double number) {
  napi_value value;
  if (napi_create_double(env, number, &value) == napi_ok) napi_set_named_property(env, object, name, value);
}

void set(napi_env env, napi_value object, const char* name, bool flag) {
  napi_value value;
  if (napi_get_boolean(env, flag, &value) == napi_ok) napi_set_named_property(env, object, name, value);
}

Handle* open_handle(napi_env env, uint32_t id) {
  Handle* handle = thread_of(env)->find(id);
  if (handle == nullptr) fail(env, "CLOSED", "this capture handle is closed, or another thread's");
  return handle;
}

Handle* handle_argument(napi_env env, napi_value value) {
  uint32_t id = 0;
  return open_handle(env, get_u32(env, value, &id) ? id : 0);
}

int64_t now_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1000000;
}

// ── Interfaces ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

napi_value list_interfaces(napi_env env, napi_callback_info) {
  char errbuf[PCAP_ERRBUF_SIZE] = "";
  pcap_if_t* all = nullptr;
  if (pcap_findalldevs(&all, errbuf) != 0) return fail(env, "FAILED", errbuf);
  napi_value list;
  napi_create_array(env, &list);
  uint32_t count = 0;
  for (pcap_if_t* device = all; device != nullptr; device = device->next) {
    // USB buses, Bluetooth, "any" and the like are libpcap's devices, but no network interfaces.
    if (if_nametoindex(device->name) == 0) continue;
    napi_value object, addresses;
    napi_create_object(env, &object);
    napi_create_array(env, &addresses);
    uint32_t n = 0;
    for (pcap_addr_t* a = device->addresses; a != nullptr; a = a->next) {
      if (a->addr == nullptr) continue;
      char text[INET6_ADDRSTRLEN];
      const void* address = a->addr->sa_family == AF_INET
                                ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(a->addr)->sin_addr)
                            : a->addr->sa_family == AF_INET6
                                ? static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(a->addr)->sin6_addr)
                                : nullptr;
      if (address == nullptr || inet_ntop(a->addr->sa_family, address, text, sizeof text) == nullptr) continue;
      napi_value value;
      napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
      napi_set_element(env, addresses, n++, value);
    }
    set(env, object, "name", std::string(device->name));
    set(env, object, "description", std::string(device->description == nullptr ? "" : device->description));
    napi_set_named_property(env, object, "addresses", addresses);
    set(env, object, "up", (device->flags & PCAP_IF_UP) != 0);
    set(env, object, "running", (device->flags & PCAP_IF_RUNNING) != 0);
    set(env, object, "loopback", (device->flags & PCAP_IF_LOOPBACK) != 0);
    napi_set_element(env, list, count++, object);
  }
  pcap_freealldevs(all);
  return list;
}

// (device) → its index, 0 where there is none; negative while it is down.
napi_value interface_index(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  std::string device;
  if (!arguments(env, info, argv) || !get_string(env, argv[0], &device)) return fail(env, "ARGUMENT", "a name is needed");
  double answer = 0;
  if (device.size() < IFNAMSIZ) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::memcpy(request.ifr_name, device.c_str(), device.size());
    if (fd >= 0 && ioctl(fd, SIOCGIFINDEX, &request) == 0) {
      answer = request.ifr_ifindex;
      if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) answer = -answer;
    }
    if (fd >= 0) close(fd);
  }
  napi_value value;
  napi_create_double(env, answer, &value);
  return value;
}

// ── Handles ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

napi_value fail_open(napi_env env, const std::string& device, int status, pcap_t* pcap) {
  const std::string detail = pcap_geterr(pcap);
  const std::string words = detail.empty() ? pcap_statustostr(status) : detail;
  switch (status) {
    case PCAP_ERROR_NO_SUCH_DEVICE:
      return fail(env, "NO_SUCH_INTERFACE", device + ": no such interface");
    case PCAP_ERROR_IFACE_NOT_UP:
      return fail(env, "DOWN", device + ": the interface is down");
    case PCAP_ERROR_PERM_DENIED:
    case PCAP_ERROR_PROMISC_PERM_DENIED:
      return fail(env, "PERMISSION", device + ": capturing is not permitted (" + words + ")");
    default:
      return fail(env, "FAILED", device + ": " + words);
  }
}

// Replaces the filter at once: each packet is judged by the one that was there when it came. pcap_setfilter would shut the socket for
// a moment, losing packets uncounted, and drop some of the waiting ones itself, uncounted too.
bool attach(Handle* handle, const bpf_program& program) {
  static_assert(sizeof(sock_filter) == sizeof(bpf_insn), "the kernel's and libpcap's instructions are the same");
  sock_fprog code{};
  code.len = static_cast<unsigned short>(program.bf_len);
  code.filter = reinterpret_cast<sock_filter*>(program.bf_insns);
  return setsockopt(handle->fd, SOL_SOCKET, SO_ATTACH_FILTER, &code, sizeof code) == 0;
}

bool set_filter(napi_env env, Handle* handle, const std::string& expression) {
  bpf_program program{};
  // An empty expression lets everything through, cut to the snap length.
  if (pcap_compile(handle->pcap, &program, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
    fail(env, "FILTER", handle->device + ": the filter \"" + expression + "\" is not understood: " + pcap_geterr(handle->pcap));
    return false;
  }
  bool ok = program.bf_len <= BPF_MAXINSNS;
  if (!ok) {
    fail(env, "FILTER", handle->device + ": the filter becomes " + std::to_string(program.bf_len) +
                            " instructions; the kernel takes " + std::to_string(BPF_MAXINSNS));
  } else if (handle->cooked) {
    ok = pcap_setfilter(handle->pcap, &program) == 0;
    if (!ok) fail(env, "FILTER", handle->device + ": " + pcap_geterr(handle->pcap));
  } else {
    ok = attach(handle, program);
    if (!ok) fail(env, "FILTER", handle->device + ": the kernel refuses the filter: " + std::strerror(errno));
  }
  pcap_freecode(&program);
  return ok;
}

napi_value open(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  std::string device, filter;
  uint32_t snap_length = 0, buffer_bytes = 0, timeout_ms = 0;
  bool promiscuous = false, immediate = false, own_frames = false;
  if (!arguments(env, info, argv) || !get_string(env, argv[0], &device) ||
      !get_u32(env, property(env, argv[1], "snap_length"), &snap_length) ||
      !get_u32(env, property(env, argv[1], "buffer_bytes"), &buffer_bytes) ||
      !get_u32(env, property(env, argv[1], "timeout_ms"), &timeout_ms) ||
      !get_bool(env, property(env, argv[1], "promiscuous"), &promiscuous) ||
      !get_bool(env, property(env, argv[1], "immediate"), &immediate) ||
      !get_bool(env, property(env, argv[1], "own_frames"), &own_frames) ||
      !get_string(env, property(env, argv[1], "filter"), &filter)) {
    return fail(env, "ARGUMENT", "open takes a device and all options");
  }
  if (snap_length < 1 || snap_length > kMaxSnapLength || buffer_bytes > INT32_MAX || timeout_ms < 1 || timeout_ms > 10000) {
    return fail(env, "ARGUMENT", device + ": a snap length is 1 to 262144 bytes, a buffer at most 2 GiB, a timeout 1 to 10000 ms");
  }
  Thread* thread = thread_of(env);
  if (thread->handles.size() >= kMaxHandles) return fail(env, "FAILED", "too many open captures in one thread");
  const unsigned index = device.size() < IFNAMSIZ ? if_nametoindex(device.c_str()) : 0;
  if (index == 0) return fail(env, "NO_SUCH_INTERFACE", device + ": no such interface");

  char errbuf[PCAP_ERRBUF_SIZE] = "";
  auto handle = std::make_unique<Handle>();
  handle->pcap = pcap_create(device.c_str(), errbuf);
  if (handle->pcap == nullptr) return fail(env, "FAILED", device + ": " + errbuf);
  pcap_t* pcap = handle->pcap;
  pcap_set_snaplen(pcap, static_cast<int>(snap_length));
  pcap_set_promisc(pcap, promiscuous ? 1 : 0);
  pcap_set_timeout(pcap, static_cast<int>(timeout_ms));
  pcap_set_immediate_mode(pcap, immediate ? 1 : 0);
  if (buffer_bytes > 0) pcap_set_buffer_size(pcap, static_cast<int>(buffer_bytes));
  handle->nanoseconds = pcap_set_tstamp_precision(pcap, PCAP_TSTAMP_PRECISION_NANO) == 0;
  pcap_set_protocol_linux(pcap, kNoProtocol);
  const int status = pcap_activate(pcap);
  if (status < 0) return fail_open(env, device, status, pcap);
  const std::string warning = status == 0 ? "" : pcap_geterr(pcap)[0] != '\0' ? pcap_geterr(pcap) : pcap_statustostr(status);

  if (pcap_setnonblock(pcap, 1, errbuf) != 0) return fail(env, "FAILED", device + ": " + errbuf);
  handle->nanoseconds = handle->nanoseconds && pcap_get_tstamp_precision(pcap) == PCAP_TSTAMP_PRECISION_NANO;
  handle->fd = pcap_get_selectable_fd(pcap);
  handle->device = device;
  handle->interface_index = index;
  handle->snap_length = static_cast<uint32_t>(pcap_snapshot(pcap));
  const int link_type = pcap_datalink(pcap);
  handle->cooked = link_type == DLT_LINUX_SLL || link_type == DLT_LINUX_SLL2;
  if (handle->fd < 0 || handle->snap_length > kMaxSnapLength) {
    return fail(env, "FAILED", device + ": this kind of device cannot be captured from");
  }
  // On the loopback every packet is seen going out and coming in; libpcap takes one of them and would leave the counts at two.
  ifreq request{};
  std::memcpy(request.ifr_name, device.c_str(), device.size());
  if (ioctl(handle->fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_LOOPBACK) != 0) own_frames = false;
  const int ignore = own_frames ? 0 : 1;
  if (setsockopt(handle->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignore, sizeof ignore) != 0 && ignore != 0) {
    return fail(env, "FAILED", device + ": outgoing frames cannot be left out: " + std::strerror(errno));
  }
  if (!set_filter(env, handle.get(), filter)) return nullptr;

  const char* name = pcap_datalink_val_to_name(link_type);
  napi_value object;
  napi_create_object(env, &object);
  handle->id = thread->next_id++;
  set(env, object, "id", static_cast<double>(handle->id));
  set(env, object, "dlt", static_cast<double>(link_type));
  set(env, object, "dlt_name", name == nullptr ? "DLT " + std::to_string(link_type) : std::string(name));
  set(env, object, "nanoseconds", handle->nanoseconds);
  set(env, object, "warning", warning);
  thread->handles.push_back(std::move(handle));
  return object;
}

// (id, interface number << 16 | link type): from here on packets are received.
napi_value start(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  if (!arguments(env, info, argv)) return fail(env, "ARGUMENT", "start takes a handle and the word for the index");
  Handle* handle = handle_argument(env, argv[0]);
  if (handle == nullptr || !get_u32(env, argv[1], &handle->interface_word)) return fail(env, "ARGUMENT", "a number is needed");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(handle->interface_index);
  int error = bind(handle->fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  socklen_t length = sizeof error;
  if (error == 0) getsockopt(handle->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == ENETDOWN) return fail(env, "DOWN", handle->device + ": the interface is down");
  if (error == ENODEV) return fail(env, "NO_SUCH_INTERFACE", handle->device + ": no such interface");
  if (error != 0) return fail(env, "FAILED", handle->device + ": " + std::strerror(error));
  return nullptr;
}

napi_value set_filter_of(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  std::string expression;
  if (!arguments(env, info, argv) || !get_string(env, argv[1], &expression)) return fail(env, "ARGUMENT", "a filter is needed");
  Handle* handle = handle_argument(env, argv[0]);
  if (handle != nullptr) set_filter(env, handle, expression);
  return nullptr;
}

// (expression) → the instructions it becomes on Ethernet, as far as can be known without an interface.
napi_value compile_filter(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  std::string expression;
  if (!arguments(env, info, argv) || !get_string(env, argv[0], &expression)) return fail(env, "ARGUMENT", "a filter is needed");
  const std::unique_ptr<pcap_t, decltype(&pcap_close)> dead(pcap_open_dead(DLT_EN10MB, kMaxSnapLength), pcap_close);
  if (dead == nullptr) return fail(env, "FAILED", "out of memory");
  bpf_program program{};
  if (pcap_compile(dead.get(), &program, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
    return fail(env, "FILTER", "the filter \"" + expression + "\" is not understood: " + pcap_geterr(dead.get()));
  }
  const unsigned length = program.bf_len;
  pcap_freecode(&program);
  if (length > BPF_MAXINSNS) {
    return fail(env, "FILTER", "the filter becomes " + std::to_string(length) + " instructions; the kernel takes " +
                                   std::to_string(BPF_MAXINSNS));
  }
  napi_value value;
  napi_create_uint32(env, length, &value);
  return value;
}

// Nothing more is received; what waits in the kernel's ring can still be read.
napi_value stop(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  if (!arguments(env, info, argv)) return fail(env, "ARGUMENT", "stop takes a handle");
  Handle* handle = handle_argument(env, argv[0]);
  if (handle == nullptr) return nullptr;
  bpf_insn nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  if (!attach(handle, bpf_program{1, &nothing})) return fail(env, "FAILED", handle->device + ": " + std::strerror(errno));
  return nullptr;
}

napi_value close_handle(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  uint32_t id = 0;
  if (!arguments(env, info, argv) || !get_u32(env, argv[0], &id)) return fail(env, "ARGUMENT", "close takes a handle");
  auto& handles = thread_of(env)->handles;
  handles.erase(std::remove_if(handles.begin(), handles.end(), [id](const auto& handle) { return handle->id == id; }),
                handles.end());
  return nullptr;
}

napi_value last_error(napi_env env, napi_callback_info info) {
  napi_value argv[1], text = nullptr;
  if (!arguments(env, info, argv)) return fail(env, "ARGUMENT", "a handle is needed");
  if (Handle* handle = handle_argument(env, argv[0])) {
    napi_create_string_utf8(env, handle->error.data(), handle->error.size(), &text);
  }
  return text;
}

// (id, out of 5 numbers): received, dropped by the kernel, dropped by the interface, delivered, bytes delivered.
napi_value statistics(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  if (!arguments(env, info, argv)) return fail(env, "ARGUMENT", "statistics takes a handle and an array");
  Handle* handle = handle_argument(env, argv[0]);
  if (handle == nullptr) return nullptr;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, argv[1], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array ||
      length < 5) {
    return fail(env, "ARGUMENT", "five 64-bit floating point numbers are needed");
  }
  pcap_stat counts{};
  if (pcap_stats(handle->pcap, &counts) == 0) {
    handle->received += uint32_t(counts.ps_recv - handle->last_received);
    handle->dropped += uint32_t(counts.ps_drop - handle->last_dropped);
    handle->interface_dropped += uint32_t(counts.ps_ifdrop - handle->last_interface_dropped);
    handle->last_received = counts.ps_recv;
    handle->last_dropped = counts.ps_drop;
    handle->last_interface_dropped = counts.ps_ifdrop;
  }
  double* out = static_cast<double*>(data);
  out[0] = static_cast<double>(handle->received);
  out[1] = static_cast<double>(handle->dropped);
  out[2] = static_cast<double>(handle->interface_dropped);
  out[3] = static_cast<double>(handle->delivered);
  out[4] = static_cast<double>(handle->delivered_bytes);
  return nullptr;
}

// ── Filling a batch ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Batch {
  uint8_t* bytes;
  uint32_t* index;
  uint32_t index_packets;
  uint32_t slot;
  uint32_t position;
  uint32_t start;
  uint32_t limit;
  uint32_t max_packets;
  uint32_t at;
  uint32_t count;
  Handle* handle;

  bool room() const { return count < max_packets && limit - at >= kRecordHeaderBytes + handle->snap_length; }
};

void take(u_char* user, const pcap_pkthdr* header, const u_char* data) {
  Batch& batch = *reinterpret_cast<Batch*>(user);
  Handle& handle = *batch.handle;
  // libpcap keeps to the snap length; the room in the batch depends on it.
  const uint32_t captured = std::min<uint32_t>(header->caplen, handle.snap_length);
  const uint32_t offset = batch.at + kRecordHeaderBytes;
  std::memcpy(batch.bytes + offset, data, captured);
  const uint64_t seconds = static_cast<uint64_t>(header->ts.tv_sec);
  const uint32_t fraction = static_cast<uint32_t>(header->ts.tv_usec);
  uint32_t* entry = batch.index + size_t{batch.slot} * kWords;
  entry[0] = offset;
  entry[1] = captured;
  entry[2] = std::max(header->len, captured);
  entry[3] = static_cast<uint32_t>(seconds);
  entry[4] = (static_cast<uint32_t>(seconds >> 32) & 3) << 30 | (handle.nanoseconds ? fraction : fraction * 1000);
  entry[5] = handle.interface_word;
  entry[6] = 0;
  entry[7] = batch.position + (offset - batch.start);
  if (++batch.slot == batch.index_packets) batch.slot = 0;
  batch.at = offset + captured;
  batch.count++;
  handle.delivered++;
  handle.delivered_bytes += captured;
  if (!batch.room()) {
    handle.more = true;
    pcap_breakloop(handle.pcap);
  }
}

// ([ids], bytes, index, slot, start, limit, position, max_packets, timeout_ms, waker, out of 3 + ids words). out: packets, bytes
// used, whether it was woken or full (1 woken, 2 full), then an event a handle.
napi_value fill(napi_env env, napi_callback_info info) {
  napi_value argv[11];
  if (!arguments(env, info, argv)) return fail(env, "ARGUMENT", "fill takes eleven arguments");
  // First of all: reading an element may run JavaScript, which could close a handle or take memory away. Nothing below does.
  uint32_t count = 0;
  uint32_t ids[kMaxHandles];
  if (napi_get_array_length(env, argv[0], &count) != napi_ok || count > kMaxHandles) {
    return fail(env, "ARGUMENT", "fill takes a list of handles");
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value id;
    if (napi_get_element(env, argv[0], i, &id) != napi_ok) return fail(env, "ARGUMENT", "fill takes a list of handles");
    // No handle has the number 0.
    if (!get_u32(env, id, &ids[i])) ids[i] = 0;
  }
  napi_typedarray_type type;
  size_t bytes_length = 0, index_length = 0, out_length = 0;
  void *bytes = nullptr, *index = nullptr, *out_data = nullptr;
  if (napi_get_typedarray_info(env, argv[1], &type, &bytes_length, &bytes, nullptr, nullptr) != napi_ok || type != napi_uint8_array ||
      napi_get_typedarray_info(env, argv[2], &type, &index_length, &index, nullptr, nullptr) != napi_ok || type != napi_uint32_array ||
      napi_get_typedarray_info(env, argv[10], &type, &out_length, &out_data, nullptr, nullptr) != napi_ok ||
      type != napi_uint32_array) {
    return fail(env, "ARGUMENT", "fill takes bytes, an index of 32-bit words and an array of 32-bit words for its answer");
  }
  Batch batch{};
  batch.bytes = static_cast<uint8_t*>(bytes);
  batch.index = static_cast<uint32_t*>(index);
  batch.index_packets = static_cast<uint32_t>(index_length / kWords);
  uint32_t timeout_ms = 0;
  int32_t waker = -1;
  if (!get_u32(env, argv[3], &batch.slot) || !get_u32(env, argv[4], &batch.start) || !get_u32(env, argv[5], &batch.limit) ||
      !get_u32(env, argv[6], &batch.position) || !get_u32(env, argv[7], &batch.max_packets) ||
      !get_u32(env, argv[8], &timeout_ms) || napi_get_value_int32(env, argv[9], &waker) != napi_ok) {
    return fail(env, "ARGUMENT", "fill takes numbers");
  }
  if (batch.start > batch.limit || batch.limit > bytes_length || batch.slot >= batch.index_packets ||
      batch.max_packets > batch.index_packets || timeout_ms > 10000 || out_length < 3 + count) {
    return fail(env, "ARGUMENT", "fill: the batch does not lie in the memory given");
  }
  Handle* handles[kMaxHandles];
  pollfd polled[kMaxHandles + 1];
  for (uint32_t i = 0; i < count; i++) {
    if ((handles[i] = open_handle(env, ids[i])) == nullptr) return nullptr;
    if (kRecordHeaderBytes + handles[i]->snap_length > batch.limit - batch.start || batch.max_packets == 0) {
      return fail(env, "ARGUMENT", "fill: the batch is smaller than one packet");
    }
  }
  Thread* thread = thread_of(env);
  uint32_t* out = static_cast<uint32_t*>(out_data);
  std::fill(out, out + 3 + count, 0);
  batch.at = batch.start;
  const int64_t deadline = now_ms() + timeout_ms;
  bool events = false;
  for (;;) {
    bool more = false;
    for (uint32_t i = 0; i < count; i++) {
      polled[i] = {handles[i]->fd, POLLIN, 0};
      more = more || handles[i]->more;
    }
    polled[count] = {waker, POLLIN, 0};
    const int64_t left = std::max<int64_t>(0, deadline - now_ms());
    if (poll(polled, count + 1, more ? 0 : static_cast<int>(left)) < 0 && errno != EINTR) {
      return fail(env, "FAILED", std::string("poll: ") + std::strerror(errno));
    }
    if ((polled[count].revents & POLLIN) != 0) {
      uint64_t times;
      if (read(waker, &times, sizeof times) > 0) out[2] |= 1;
    }
    // Another one is first each time, so that one full interface does not keep the others waiting.
    const uint32_t turn = thread->turn++;
    for (uint32_t k = 0; k < count; k++) {
      const uint32_t i = (turn + k) % count;
      Handle* handle = handles[i];
      if ((polled[i].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
        int error = 0;
        socklen_t length = sizeof error;
        // Reading the error clears it, else poll would never wait again.
        getsockopt(handle->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error == ENETDOWN || error == ENODEV) {
          out[3 + i] |= kEventDown;
          events = true;
        } else if (error != 0 || (polled[i].revents & POLLNVAL) != 0) {
          handle->error = error != 0 ? std::strerror(error) : "the socket is gone";
          out[3 + i] |= kEventFailed;
          events = true;
        }
      }
      if ((polled[i].revents & POLLIN) == 0 && !handle->more) continue;
      batch.handle = handle;
      if (!batch.room()) {
        out[2] |= 2;
        continue;
      }
      handle->more = false;
      const int status =
          pcap_dispatch(handle->pcap, static_cast<int>(batch.max_packets - batch.count), take, reinterpret_cast<u_char*>(&batch));
      if (handle->more) out[2] |= 2;
      if (status == PCAP_ERROR) {
        handle->error = pcap_geterr(handle->pcap);
        out[3 + i] |= kEventFailed;
        events = true;
      }
    }
    if (batch.count > 0 || out[2] != 0 || events || now_ms() >= deadline) break;
  }
  out[0] = batch.count;
  out[1] = batch.at - batch.start;
  return nullptr;
}

// ── Waking a thread that waits in fill ───────────────────────────────────────────────────────────────────────────────────────────

napi_value create_waker(napi_env env, napi_callback_info) {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return fail(env, "FAILED", std::string("eventfd: ") + std::strerror(errno));
  napi_value value;
  napi_create_int32(env, fd, &value);
  return value;
}

napi_value wake(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd = -1;
  if (!arguments(env, info, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok) return fail(env, "ARGUMENT", "wake");
  const uint64_t once = 1;
  // Where the counter is full the thread is woken already.
  if (write(fd, &once, sizeof once) < 0 && errno != EAGAIN) return fail(env, "FAILED", std::string("wake: ") + std::strerror(errno));
  return nullptr;
}

napi_value close_waker(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd = -1;
  if (!arguments(env, info, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok) return fail(env, "ARGUMENT", "waker");
  close(fd);
  return nullptr;
}

napi_value version(napi_env env, napi_callback_info) {
  napi_value text;
  napi_create_string_utf8(env, pcap_lib_version(), NAPI_AUTO_LENGTH, &text);
  return text;
}

}  // namespace

NAPI_MODULE_INIT() {
  auto* thread = new Thread();
  if (napi_set_instance_data(env, thread, [](napi_env, void* data, void*) { delete static_cast<Thread*>(data); }, nullptr) != napi_ok) {
    delete thread;
    return nullptr;
  }
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {
      {"listInterfaces", list_interfaces}, {"interfaceIndex", interface_index}, {"open", open},
      {"start", start},                    {"setFilter", set_filter_of},        {"stop", stop},
      {"compileFilter", compile_filter},
      {"close", close_handle},             {"lastError", last_error},           {"statistics", statistics},
      {"fill", fill},                      {"createWaker", create_waker},       {"wake", wake},
      {"closeWaker", close_waker},         {"version", version},
  };
  for (const auto& f : functions) {
    napi_value value;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, nullptr, &value) != napi_ok) return nullptr;
    napi_set_named_property(env, exports, f.name, value);
  }
  return exports;
}
