// config_check FILE...: reads each as a configuration and prints "good" or "bad", the file,
// and what was wrong with it in the lines that follow, each behind a tab. Ends with 1 if a
// file was bad, with 2 if something else than a ConfigError came out.

#include <iostream>
#include <string>

#include "polycache/config.h"
#include "polycache/error.h"

int main(int argc, char** argv) {
  int result = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      static_cast<void>(polycache::Config::from_file(argv[i]));
      std::cout << "good " << argv[i] << '\n';
    } catch (const polycache::ConfigError& error) {
      std::string message = error.what();
      for (std::size_t at = 0; (at = message.find('\n', at)) != std::string::npos; at += 2) {
        message.replace(at, 1, "\n\t");
      }
      std::cout << "bad " << argv[i] << "\n\t" << message << '\n';
      result = result == 0 ? 1 : result;
    } catch (const std::exception& error) {
      std::cout << "broken " << argv[i] << "\n\t" << error.what() << '\n';
      result = 2;
    }
  }
  return result;
}
