{
  # sanitize: empty, or what -fsanitize= takes (address,undefined) for the addon's own tests.
  'variables': { 'sanitize%': '' },
  'targets': [
    {
      'target_name': 'pcap',
      'sources': ['pcap.cc'],
      'defines': ['NAPI_VERSION=8'],
      'cflags_cc': ['-std=c++17', '-Wall', '-Wextra', '-Wno-cast-function-type', '-fvisibility=hidden'],
      'libraries': ['-lpcap'],
      'conditions': [
        ['sanitize!=""', {
          'cflags_cc': ['-fsanitize=<(sanitize)', '-fno-omit-frame-pointer', '-g', '-O1'],
          'ldflags': ['-fsanitize=<(sanitize)'],
        }],
      ],
    },
  ],
}
