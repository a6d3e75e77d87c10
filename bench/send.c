/*
 * Sends the packets of a capture file (pcap, little-endian, Ethernet) out of an interface as fast as it goes, or at a rate, over and over
 * for a number of packets or until SIGTERM: the other end of a pair of virtual interfaces, in a namespace that the bench made itself. For
 * the bench alone.
 *
 * send INTERFACE FILE PACKETS [PACKETS_PER_SECOND]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 64, FILE_HEADER = 24, PACKET_HEADER = 16 };

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
  (void)signal_number;
  stopped = 1;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  fprintf(stderr, "send: %s: %s\n", what, strerror(errno));
  exit(1);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "send INTERFACE FILE PACKETS [PACKETS_PER_SECOND]\n");
    return 2;
  }
  const long wanted = atol(argv[3]);
  const double rate = argc > 4 ? atof(argv[4]) : 0;
  /* A rate is kept by the millisecond, not by bursts of more than that. */
  const int at_once = rate <= 0 || rate > AT_ONCE * 1000 ? AT_ONCE : rate < 1000 ? 1 : (int)(rate / 1000);
  signal(SIGTERM, stop);
  const int file = open(argv[2], O_RDONLY);
  struct stat stat;
  if (file < 0 || fstat(file, &stat) != 0) fail(argv[2]);
  const uint8_t *bytes = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  if (bytes == MAP_FAILED) fail(argv[2]);
  const int out = socket(AF_PACKET, SOCK_RAW, 0);
  if (out < 0) fail("socket");
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
  if (to.sll_ifindex == 0) fail(argv[1]);
  if (bind(out, (struct sockaddr *)&to, sizeof to) != 0) fail("bind");
  const int bypass = 1;
  setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass);
  struct mmsghdr messages[AT_ONCE] = {0};
  struct iovec parts[AT_ONCE];
  for (int i = 0; i < AT_ONCE; i++) {
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  off_t at = FILE_HEADER;
  long sent = 0;
  const double started = now();
  while (sent < wanted && !stopped) {
    int count = 0;
    while (count < at_once && sent + count < wanted) {
      uint32_t captured;
      if (at + PACKET_HEADER > stat.st_size) at = FILE_HEADER;
      memcpy(&captured, bytes + at + 8, 4);
      if (at + PACKET_HEADER + (off_t)captured > stat.st_size) {
        at = FILE_HEADER;
        continue;
      }
      parts[count].iov_base = (void *)(bytes + at + PACKET_HEADER);
      parts[count++].iov_len = captured;
      at += PACKET_HEADER + captured;
    }
    for (int done = 0; done < count;) {
      const int taken = sendmmsg(out, messages + done, count - done, 0);
      if (taken > 0) done += taken;
      else if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR) fail("sendmmsg");
    }
    sent += count;
    while (rate > 0 && !stopped && now() - started < sent / rate) usleep(50);
  }
  const double seconds = now() - started;
  printf("{\"sent\":%ld,\"seconds\":%.3f,\"packets_per_second\":%.0f}\n", sent, seconds, sent / seconds);
  return 0;
}
